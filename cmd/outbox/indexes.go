package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/bento-outbox/watermill-outbox/internal/english"
	"github.com/bento-outbox/watermill-outbox/internal/store"
)

type indexesCommand struct {
	databaseFlags
	JSON bool `name:"json" help:"Print one JSON object per index."`
}

// Run lists the indexes. It fails if one is missing or invalid.
func (c *indexesCommand) Run(s *session) error {
	target := s.database()
	return s.withStore(target, func(ctx context.Context, st *store.Store) error {
		list, err := st.Indexes(ctx)
		if err != nil {
			return err
		}
		if err := c.print(s, list); err != nil {
			return err
		}
		lacking := 0
		for _, i := range list {
			if i.State == store.IndexMissing || i.State == store.IndexInvalid {
				lacking++
			}
		}
		switch lacking {
		case 0:
			return nil
		case 1:
			return failf("1 index is missing or invalid; the statement above repairs it")
		}
		return failf("%s missing or invalid; the statements above repair them", english.Count(lacking, "index is", "indexes are"))
	})
}

func (c *indexesCommand) print(s *session, list []store.Index) error {
	if c.JSON {
		enc := newEncoder(s.stdout)
		for _, i := range list {
			if err := enc.Encode(i); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(s.stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "index\ttable\tstate\tsize\tused\tbloat")
	fix := ""
	for _, i := range list {
		used, bloat := "-", "-"
		if i.Scans >= 0 {
			used = fmt.Sprint(i.Scans)
		}
		if i.Bloat >= 0 {
			bloat = fmt.Sprintf("%.0f %%", i.Bloat*100)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", printable(i.Name), i.Table, i.State, size(i.Bytes), used, bloat)
		if i.Fix != "" {
			fix += i.Fix + "\n"
		}
	}
	if err := t.Flush(); err != nil || fix == "" {
		return err
	}
	_, err := fmt.Fprintf(s.stdout, "\nRun:\n%s", fix)
	return err
}

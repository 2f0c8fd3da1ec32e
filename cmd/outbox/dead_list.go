package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/bento-outbox/watermill-outbox/schema"
)

type deadList struct {
	databaseFlags
	deadFilters
	Limit string `default:"100" placeholder:"N" help:"Show at most N dead letters, oldest events first (default 100)."`
	JSON  bool   `name:"json" help:"Print one JSON object per dead letter."`
}

// Run lists dead letters by the numbers of their events.
func (c *deadList) Run(s *session) error {
	target := s.database()
	filter := c.deadFilters.check(&s.faults, time.Now())
	limit := s.faults.Number("--limit", c.Limit, 1, 1_000_000)
	return s.withStore(target, func(ctx context.Context, store *schema.Store) error {
		list, err := store.Dead(ctx, filter, nil, limit+1)
		if err != nil {
			return target.explain(err)
		}
		more := len(list) > limit
		if more {
			list = list[:limit]
		}
		if c.JSON {
			enc := deadEncoder(s.stdout)
			for _, letter := range inUTC(list) {
				if err := enc.Encode(letter); err != nil {
					return err
				}
			}
		} else if err := writeLetters(s.stdout, list); err != nil {
			return err
		}
		if more {
			fmt.Fprintf(s.stderr, "outbox: there are more than %d; filter, or raise --limit\n", limit)
		}
		return nil
	})
}

func deadEncoder(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc
}

// writeLetters writes dead letters for people.
func writeLetters(w io.Writer, list []schema.DeadLetter) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "seq\ttarget\tdestination\tattempts\tdied\tholds key\tcause")
	for _, d := range list {
		holds := "no"
		if d.HoldsKey {
			holds = "yes"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%d\t%s\t%s\t%s\n", d.Seq, orDash(d.Target), orDash(d.Destination), d.Attempts, timeText(d.DiedAt), holds,
			orDash(shortCause(d.Error)))
	}
	return t.Flush()
}

// shortCause keeps the first 120 characters: an error names its root at its end.
func shortCause(text string) string {
	const most = 120
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

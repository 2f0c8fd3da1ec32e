package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/bento-outbox/watermill-outbox/admin"
)

type deadList struct {
	databaseFlags
	deadFilters
	Limit string `default:"100" placeholder:"N" help:"Show at most N dead letters, oldest events first (default 100)."`
	JSON  bool   `name:"json" help:"Print one JSON object per dead letter."`
}

// Run lists dead letters in the order of their events.
func (c *deadList) Run(s *session) error {
	target := s.database()
	filter := c.check(&s.faults, time.Now())
	limit := s.faults.Number("--limit", c.Limit, 1, 1_000_000)
	return s.withAdmin(target, func(ctx context.Context, client *admin.Client) error {
		list, err := client.DeadLetters(ctx, filter, nil, limit+1)
		if err != nil {
			return err
		}
		more := len(list) > limit
		if more {
			list = list[:limit]
		}
		if c.JSON {
			enc := newEncoder(s.stdout)
			for _, letter := range inUTC(list) {
				if err := enc.Encode(letter); err != nil {
					return err
				}
			}
		} else if err := writeLetters(s.stdout, list); err != nil {
			return err
		}
		if more {
			fmt.Fprintf(s.stderr, "outbox: there are more than %d; add a filter or raise --limit\n", limit)
		}
		return nil
	})
}

// writeLetters writes a table of dead letters.
func writeLetters(w io.Writer, list []admin.DeadLetter) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "seq\ttarget\tdestination\tattempts\tdied\tholds key\tcause")
	for _, d := range list {
		fmt.Fprintf(t, "%d\t%s\t%s\t%d\t%s\t%s\t%s\n", d.Seq, orDash(d.Target), orDash(d.Destination), d.Attempts, timeText(d.DiedAt), yesNo(d.HoldsKey),
			orDash(shortCause(d.Error)))
	}
	return t.Flush()
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/bento-outbox/watermill-outbox/schema"
)

type statsCommand struct {
	databaseFlags
	JSON bool `name:"json" help:"Print one JSON object."`
}

// stats is what --json prints.
type stats struct {
	Pending    pendingStats    `json:"pending"`    // events that nobody has looked at yet
	Deliveries []deliveryStats `json:"deliveries"` // what is not finished or has failed, by state and destination
}

type pendingStats struct {
	Count         int64   `json:"count"`
	OldestSeconds float64 `json:"oldest_seconds"`
}

type deliveryStats struct {
	State         string  `json:"state"`
	Destination   string  `json:"destination"`
	Count         int64   `json:"count"`
	OldestSeconds float64 `json:"oldest_seconds"`
}

// Run counts what is not finished, from the small tables only.
func (c *statsCommand) Run(s *session) error {
	target := c.check(&s.faults)
	if err := s.faults.err(); err != nil {
		return err
	}
	ctx, stop := interruptible(context.Background())
	defer stop()
	db, store, err := target.openStore(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	counts, err := store.Stats(ctx)
	if err != nil {
		return target.explain(err)
	}
	if c.JSON {
		return json.NewEncoder(s.stdout).Encode(newStats(counts))
	}
	t := tabwriter.NewWriter(s.stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "state\tdestination\tcount\toldest")
	for _, n := range counts {
		destination, oldest := n.Destination, "-"
		if destination == "" {
			destination = "-"
		}
		if n.Count > 0 {
			oldest = n.Oldest.Round(time.Millisecond).String()
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\n", n.Kind, destination, n.Count, oldest)
	}
	return t.Flush()
}

func newStats(counts []schema.Count) stats {
	s := stats{Deliveries: []deliveryStats{}}
	for _, n := range counts {
		if n.Kind == "pending" {
			s.Pending = pendingStats{Count: n.Count, OldestSeconds: n.Oldest.Seconds()}
			continue
		}
		s.Deliveries = append(s.Deliveries, deliveryStats{
			State: n.Kind, Destination: n.Destination, Count: n.Count, OldestSeconds: n.Oldest.Seconds(),
		})
	}
	return s
}

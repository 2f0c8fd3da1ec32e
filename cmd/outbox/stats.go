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
	// What is held without an attempt, and why. Operators pause; forwarders find what they cannot reach.
	Paused      []pausedStats      `json:"paused"`
	Unreachable []unreachableStats `json:"unreachable"`
}

type pausedStats struct {
	Kind   string    `json:"kind"` // destination, tenant or key
	Name   string    `json:"name"`
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

type unreachableStats struct {
	Destination string    `json:"destination"`
	Since       time.Time `json:"since"`
	Reason      string    `json:"reason"`
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
	controls, err := store.Controls(ctx)
	if err != nil {
		return target.explain(err)
	}
	if c.JSON {
		return json.NewEncoder(s.stdout).Encode(newStats(counts, controls))
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
	if err := t.Flush(); err != nil || len(controls) == 0 {
		return err
	}
	fmt.Fprintln(t)
	fmt.Fprintln(t, "held\tname\tsince\treason")
	for _, c := range controls {
		held := "paused " + string(c.Kind)
		if c.Kind == schema.Unreachable {
			held = "unreachable destination"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", held, printable(c.Name), timeText(c.Since), orDash(c.Reason))
	}
	return t.Flush()
}

func newStats(counts []schema.Count, controls []schema.Control) stats {
	s := stats{Deliveries: []deliveryStats{}, Paused: []pausedStats{}, Unreachable: []unreachableStats{}}
	for _, c := range controls {
		if c.Kind == schema.Unreachable {
			s.Unreachable = append(s.Unreachable, unreachableStats{Destination: c.Name, Since: c.Since.UTC(), Reason: c.Reason})
		} else {
			s.Paused = append(s.Paused, pausedStats{Kind: string(c.Kind), Name: c.Name, Since: c.Since.UTC(), Reason: c.Reason})
		}
	}
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

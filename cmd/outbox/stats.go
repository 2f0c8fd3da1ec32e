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
	By    string `enum:"destination,tenant,topic" default:"destination" help:"Group counts by destination, tenant or topic (default destination)."`
	Exact bool   `help:"Count exactly, however long it takes. By default, counts above 10,000 per state are estimates."`
	JSON  bool   `name:"json" help:"Print one JSON object, with all counts."`
}

// stats is what --json prints.
type stats struct {
	Pending    pendingStats    `json:"pending"`    // events that nobody has looked at yet
	Deliveries []deliveryStats `json:"deliveries"` // what is not finished or has failed, by state and destination
	Tenants    []tenantStats   `json:"tenants"`    // pending too, by state
	Topics     []topicStats    `json:"topics"`
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
	Estimated     bool    `json:"estimated,omitempty"`
}

type deliveryStats struct {
	State         schema.State `json:"state"`
	Destination   string       `json:"destination"`
	Count         int64        `json:"count"`
	OldestSeconds float64      `json:"oldest_seconds"`
	Estimated     bool         `json:"estimated,omitempty"`
}

type tenantStats struct {
	State         schema.State `json:"state"`
	Tenant        string       `json:"tenant"`
	Count         int64        `json:"count"`
	OldestSeconds float64      `json:"oldest_seconds"`
	Estimated     bool         `json:"estimated,omitempty"`
}

type topicStats struct {
	State         schema.State `json:"state"`
	Topic         string       `json:"topic"`
	Count         int64        `json:"count"`
	OldestSeconds float64      `json:"oldest_seconds"`
	Estimated     bool         `json:"estimated,omitempty"`
}

// Run counts what is not finished.
func (c *statsCommand) Run(s *session) error {
	target := s.database()
	return s.withStore(target, func(ctx context.Context, store *schema.Store) error {
		backlog, err := store.Backlog(ctx, c.Exact)
		if err != nil {
			return target.explain(err)
		}
		controls, err := store.Controls(ctx)
		if err != nil {
			return target.explain(err)
		}
		if c.JSON {
			return json.NewEncoder(s.stdout).Encode(newStats(backlog, controls))
		}
		t := tabwriter.NewWriter(s.stdout, 0, 0, 3, ' ', 0)
		fmt.Fprintf(t, "state\t%s\tcount\toldest\n", c.By)
		for _, n := range c.counts(backlog) {
			oldest, about := "-", ""
			if n.Count > 0 {
				oldest = n.Oldest.Round(time.Millisecond).String()
			}
			if !n.Exact {
				about = "~"
			}
			fmt.Fprintf(t, "%s\t%s\t%s%d\t%s\n", n.State, orDash(n.Name), about, n.Count, oldest)
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
	})
}

// counts are the lines of the table. Pending events go somewhere that nobody knows yet: by destination they are one line.
func (c *statsCommand) counts(b schema.Backlog) []schema.Count {
	switch c.By {
	case "tenant":
		return b.Tenants
	case "topic":
		return b.Topics
	}
	return append([]schema.Count{b.State(schema.Pending)}, b.Destinations...)
}

func newStats(b schema.Backlog, controls []schema.Control) stats {
	s := stats{Deliveries: []deliveryStats{}, Tenants: []tenantStats{}, Topics: []topicStats{}, Paused: []pausedStats{}, Unreachable: []unreachableStats{}}
	for _, c := range controls {
		if c.Kind == schema.Unreachable {
			s.Unreachable = append(s.Unreachable, unreachableStats{Destination: c.Name, Since: c.Since.UTC(), Reason: c.Reason})
		} else {
			s.Paused = append(s.Paused, pausedStats{Kind: string(c.Kind), Name: c.Name, Since: c.Since.UTC(), Reason: c.Reason})
		}
	}
	n := b.State(schema.Pending)
	s.Pending = pendingStats{n.Count, n.Oldest.Seconds(), !n.Exact}
	for _, n := range b.Destinations {
		s.Deliveries = append(s.Deliveries, deliveryStats{n.State, n.Name, n.Count, n.Oldest.Seconds(), !n.Exact})
	}
	for _, n := range b.Tenants {
		s.Tenants = append(s.Tenants, tenantStats{n.State, n.Name, n.Count, n.Oldest.Seconds(), !n.Exact})
	}
	for _, n := range b.Topics {
		s.Topics = append(s.Topics, topicStats{n.State, n.Name, n.Count, n.Oldest.Seconds(), !n.Exact})
	}
	return s
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

type statsCommand struct {
	databaseFlags
	By    string `enum:"destination,tenant,topic" default:"destination" help:"Group counts by destination, tenant or topic (default destination)."`
	Exact bool   `help:"Count everything, however long it takes. By default, only the first 10,000 of each state are counted."`
	JSON  bool   `name:"json" help:"Print one JSON object, with all counts."`
}

// stats is the output of --json.
type stats struct {
	Pending    countStats   `json:"pending"`    // events without a first pass
	Deliveries []countStats `json:"deliveries"` // unfinished or failed, by state and destination
	Tenants    []countStats `json:"tenants"`    // the same and pending events, by state and tenant
	Topics     []countStats `json:"topics"`
	// Of states with more than was counted, the distance between the first and the last of their event numbers.
	Span map[store.State]int64 `json:"span,omitempty"`
	// Deliveries to these are held without an attempt. Operators pause; forwarders notice what they cannot reach.
	Paused      []heldStats `json:"paused"`
	Unreachable []heldStats `json:"unreachable"`
}

// countStats is a count with the names that it has.
type countStats struct {
	State         store.State `json:"state,omitempty"`
	Destination   *string     `json:"destination,omitempty"`
	Tenant        *string     `json:"tenant,omitempty"`
	Topic         *string     `json:"topic,omitempty"`
	Count         int64       `json:"count"`
	OldestSeconds float64     `json:"oldest_seconds"`
	More          bool        `json:"more,omitempty"` // the state has more than was counted
}

// heldStats is a pause, or an unreachable destination.
type heldStats struct {
	Kind        store.ControlKind `json:"kind,omitempty"` // of a pause: destination, tenant or key
	Name        string            `json:"name,omitempty"`
	Destination string            `json:"destination,omitempty"`
	Since       time.Time         `json:"since"`
	Reason      string            `json:"reason"`
}

// Run counts what is not finished.
func (c *statsCommand) Run(s *session) error {
	target := s.database()
	return s.withStore(target, func(ctx context.Context, st *store.Store) error {
		backlog, err := st.Backlog(ctx, c.Exact)
		if err != nil {
			return err
		}
		controls, err := st.Controls(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return json.NewEncoder(s.stdout).Encode(newStats(backlog, controls))
		}
		t := tabwriter.NewWriter(s.stdout, 0, 0, 3, ' ', 0)
		fmt.Fprintf(t, "state\t%s\tcount\toldest\n", c.By)
		for _, n := range c.counts(backlog) {
			oldest, more := "-", ""
			if n.Count > 0 {
				oldest = n.Oldest.Round(time.Millisecond).String()
			}
			if backlog.Span[n.State] > 0 {
				more = "+"
			}
			fmt.Fprintf(t, "%s\t%s\t%d%s\t%s\n", n.State, orDash(n.Name), n.Count, more, oldest)
		}
		if err := errors.Join(t.Flush(), writeSpans(s.stdout, backlog)); err != nil || len(controls) == 0 {
			return err
		}
		fmt.Fprintln(t)
		fmt.Fprintln(t, "held\tname\tsince\treason")
		for _, c := range controls {
			held := "paused " + string(c.Kind)
			if c.Kind == store.Unreachable {
				held = "unreachable destination"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", held, printable(c.Name), timeText(c.Since), orDash(c.Reason))
		}
		return t.Flush()
	})
}

// writeSpans says how much there may be of the states with more than was counted.
func writeSpans(w io.Writer, b store.Backlog) error {
	var spans []string
	for _, state := range store.States {
		if span := b.Span[state]; span > 0 {
			spans = append(spans, fmt.Sprintf("%s %d", state, span))
		}
	}
	if len(spans) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "\n+ the state has more than the first %d, which are counted; its event numbers span: %s\n", store.CountLimit, strings.Join(spans, ", "))
	return err
}

// counts returns the rows of the table. By destination, pending events are one row, because nobody knows yet where they go.
func (c *statsCommand) counts(b store.Backlog) []store.Count {
	switch c.By {
	case "tenant":
		return b.Tenants
	case "topic":
		return b.Topics
	}
	return append([]store.Count{b.State(store.Pending)}, b.Destinations...)
}

func newStats(b store.Backlog, controls []store.Control) stats {
	count := func(n store.Count) countStats {
		return countStats{State: n.State, Count: n.Count, OldestSeconds: n.Oldest.Seconds(), More: b.Span[n.State] > 0}
	}
	counts := func(list []store.Count, name func(*countStats) **string) []countStats {
		out := make([]countStats, len(list))
		for i, n := range list {
			out[i] = count(n)
			*name(&out[i]) = &list[i].Name
		}
		return out
	}
	s := stats{
		Pending:    count(b.State(store.Pending)),
		Deliveries: counts(b.Destinations, func(c *countStats) **string { return &c.Destination }),
		Tenants:    counts(b.Tenants, func(c *countStats) **string { return &c.Tenant }),
		Topics:     counts(b.Topics, func(c *countStats) **string { return &c.Topic }),
		Span:       b.Span,
		Paused:     []heldStats{}, Unreachable: []heldStats{},
	}
	s.Pending.State = ""
	for _, c := range controls {
		held := heldStats{Since: c.Since.UTC(), Reason: c.Reason}
		if c.Kind == store.Unreachable {
			held.Destination = c.Name
			s.Unreachable = append(s.Unreachable, held)
		} else {
			held.Kind, held.Name = c.Kind, c.Name
			s.Paused = append(s.Paused, held)
		}
	}
	return s
}

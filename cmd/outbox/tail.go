package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

type tailCommand struct {
	databaseFlags
	Lines    string   `short:"n" default:"10" placeholder:"N" help:"Start with the last N events, out of the 10,000 stored last (default 10)."`
	NoFollow bool     `help:"Exit instead of waiting for new events."`
	Tenant   []string `sep:"none" placeholder:"ID" help:"Show only events of this tenant. Can be repeated."`
	Topic    []string `sep:"none" placeholder:"TOPIC" help:"Show only events of this topic. Can be repeated."`
	Payload  bool     `help:"Also print payloads of up to 64 KiB."`
	Interval string   `default:"500ms" placeholder:"DURATION" help:"How often to look for new events (default 500ms)."`
	JSON     bool     `name:"json" help:"Print one JSON object per event."`
}

// tailed is the output of --json.
type tailed struct {
	Seq           int64           `json:"seq"`
	CreatedAt     time.Time       `json:"created_at"`
	Status        string          `json:"status"` // when it was read
	TenantID      string          `json:"tenant_id"`
	Topic         string          `json:"topic"`
	Key           string          `json:"key"`
	ID            string          `json:"id"`
	PayloadSize   int             `json:"payload_size"`
	Payload       json.RawMessage `json:"payload,omitempty"`        // with --payload, if it is JSON
	PayloadBase64 []byte          `json:"payload_base64,omitempty"` // otherwise
}

const (
	tailWindow  = 10_000   // number of stored events to begin with
	tailPayload = 64 << 10 // bytes
)

// Run prints events as they are committed, until interrupted.
func (c *tailCommand) Run(s *session) error {
	target := s.database()
	lines := s.faults.Number("--lines", c.Lines, 0, tailWindow)
	interval := s.faults.Duration("--interval", c.Interval, 10*time.Millisecond)
	for flag, list := range map[string][]string{"--tenant": c.Tenant, "--topic": c.Topic} {
		for _, text := range list {
			s.faults.name(flag, text)
		}
	}
	return s.withStore(target, func(ctx context.Context, st *store.Store) error {
		inline := 0
		if c.Payload {
			inline = tailPayload
		}
		f := follower{store: st, look: store.Look{Inline: inline, Filter: store.Filter{Tenants: c.Tenant, Topics: c.Topic}}}
		first, err := f.begin(ctx, lines)
		if err != nil {
			return err
		}
		if err := c.print(s, first); err != nil || c.NoFollow {
			return err
		}
		return c.follow(ctx, s, target, &f, interval)
	})
}

// follow prints new events. It waits for a database that cannot be reached.
func (c *tailCommand) follow(ctx context.Context, s *session, target database, f *follower, interval time.Duration) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		list, err := f.next(ctx)
		if printErr := c.print(s, list); printErr != nil {
			return printErr
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !failing:
			s.complain(fmt.Errorf("%w; retrying", target.explain(err)))
		case err == nil && failing:
			fmt.Fprintln(s.stderr, "outbox: following events again")
		}
		failing = err != nil
		if f.missed > 0 {
			fmt.Fprintf(s.stderr, "outbox: there are too many gaps between sequence numbers; %s may be missed if they are committed late\n", events(f.missed))
			f.missed = 0
		}
	}
}

func (c *tailCommand) print(s *session, list []store.Glance) error {
	enc := newEncoder(s.stdout)
	for i := range list {
		g := &list[i]
		if c.JSON {
			if err := enc.Encode(c.tailed(g)); err != nil {
				return err
			}
			continue
		}
		// Columns have fixed widths, because later rows are not known yet.
		line := fmt.Sprintf("%-8d %s %-7s %-12s %-20s %-20s %7d", g.Seq, g.CreatedAt.UTC().Format("2006-01-02T15:04:05.000Z"), g.Status,
			orDash(g.TenantID), printable(g.Topic), orDash(g.Key()), g.PayloadSize)
		if c.Payload {
			line += "  " + payloadText(g)
		}
		if _, err := fmt.Fprintln(s.stdout, line); err != nil {
			return err
		}
	}
	return nil
}

func payloadText(g *store.Glance) string {
	switch {
	case g.PayloadSize == 0 && g.Payload == nil:
		return "(none)"
	case g.PayloadSize > len(g.Payload):
		return "(too long)"
	case utf8.Valid(g.Payload):
		return printable(string(g.Payload))
	}
	return "(no text)"
}

func (c *tailCommand) tailed(g *store.Glance) tailed {
	t := tailed{
		Seq: g.Seq, CreatedAt: g.CreatedAt.UTC(), Status: g.Status, TenantID: g.TenantID, Topic: g.Topic, Key: g.Key(), ID: g.ID, PayloadSize: g.PayloadSize,
	}
	if json.Valid(g.Payload) && utf8.Valid(g.Payload) {
		t.Payload = g.Payload
	} else {
		t.PayloadBase64 = g.Payload
	}
	return t
}

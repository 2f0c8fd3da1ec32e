package main

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/bento-outbox/watermill-outbox/admin"
	"github.com/bento-outbox/watermill-outbox/internal/english"
)

type cleanupCommand struct {
	databaseFlags
	OlderThan string   `default:"7d" placeholder:"AGE" help:"Delete events that were stored (if sent), were skipped or died longer ago than this (default 7d)."`
	Status    []string `default:"SENT,SKIPPED" placeholder:"STATUS[=AGE]" help:"Delete events with this status: SENT, SKIPPED or DEAD, each with an optional age of its own (default SENT,SKIPPED)."`
	Tenant    []string `sep:"none" placeholder:"ID" help:"Delete only events of this tenant. Can be repeated."`
	Batch     string   `default:"5000" placeholder:"N" help:"Events to examine per transaction (default 5000)."`
	Pause     string   `default:"100ms" placeholder:"DURATION" help:"Pause between transactions, to leave room for other work (default 100ms)."`
	DryRun    bool     `help:"Count what would be deleted, and delete nothing."`
	JSON      bool     `name:"json" help:"Print one JSON object."`
}

// cleanedUp is the output of --json.
type cleanedUp struct {
	DryRun      bool          `json:"dry_run"`
	Removed     admin.Removed `json:"removed"`  // in a dry run, what would be; without the events of partitions
	HoldKey     int64         `json:"hold_key"` // dead events that stay, because later events of their key wait for them
	TookSeconds float64       `json:"took_seconds"`
	Partitions  []droppedPart `json:"partitions"` // dropped as a whole
}

type droppedPart struct {
	Name   string `json:"name"`
	Events int64  `json:"events"` // about
	Kept   int64  `json:"kept"`   // unfinished, dead or skipped ones, which were moved
}

func (c *cleanupCommand) check(s *session) (database, admin.CleanerConfig) {
	target := s.database()
	cfg := admin.CleanerConfig{
		Schema: target.tables, Tenants: c.Tenant,
		Retention: admin.Forever, SkippedRetention: admin.Forever, DeadRetention: admin.Forever,
		BatchSize: s.faults.Number("--batch", c.Batch, 1, 100_000),
		Pause:     max(s.faults.Duration("--pause", c.Pause, 0), 1),
	}
	older := max(s.faults.Duration("--older-than", c.OlderThan, 0), 1) // zero would mean the default
	seen := map[string]bool{}
	for _, text := range c.Status {
		name, own, has := strings.Cut(text, "=")
		age := older
		if has {
			age = max(s.faults.Duration("--status "+name, own, 0), 1)
		}
		if name = strings.ToUpper(name); seen[name] {
			s.faults.Add("--status: %s is given twice", name)
		}
		seen[name] = true
		switch name {
		case "SENT":
			cfg.Retention = age
		case "SKIPPED":
			cfg.SkippedRetention = age
		case "DEAD":
			cfg.DeadRetention = age
		default:
			s.faults.Add("--status: %q is none of SENT, SKIPPED, DEAD; unfinished events are never deleted", text)
		}
	}
	if slices.Contains(c.Tenant, "") {
		s.faults.Add("--tenant: is empty; leave it out to select all tenants")
	}
	return target, cfg
}

// Run deletes old finished events in batches and prints their number.
func (c *cleanupCommand) Run(s *session) error {
	target, cfg := c.check(s)
	return s.withDatabase(target, false, func(ctx context.Context, db *sql.DB) error {
		bar := newProgress(s.stderr)
		cfg.Progress = func(p admin.CleanerProgress) { bar.show(p.Done, events(p.Removed.Total())) }
		cleaner, err := admin.NewCleaner(ctx, db, cfg, s.log.watermill)
		if err != nil {
			return err
		}
		work := cleaner.Once
		if c.DryRun {
			work = cleaner.DryRun
		}
		result, err := work(ctx)
		bar.clear()
		if printErr := c.print(s, result); err == nil {
			return printErr
		}
		if ctx.Err() != nil {
			return failf("interrupted; run the command again for the rest")
		}
		return err
	})
}

func (c *cleanupCommand) print(s *session, r admin.Cleaned) error {
	if c.JSON {
		parts := []droppedPart{}
		for _, p := range r.Partitions {
			parts = append(parts, droppedPart(p))
		}
		return newEncoder(s.stdout).Encode(cleanedUp{c.DryRun, r.Removed, r.Held, r.Took.Seconds(), parts})
	}
	did, dropped := "removed", "dropped"
	if c.DryRun {
		did, dropped = "would remove", "would drop"
	}
	for _, p := range r.Partitions {
		if _, err := fmt.Fprintf(s.stdout, "%s partition %s with about %s; kept %s of it\n", dropped, p.Name, events(p.Events), events(p.Kept)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(s.stdout, "%s %s: %d SENT, %d SKIPPED, %d DEAD\n", did, events(r.Removed.Total()), r.Removed.Sent, r.Removed.Skipped, r.Removed.Dead)
	if err == nil && r.Held == 1 {
		_, err = fmt.Fprintln(s.stdout, "kept 1 dead event, because later events of its key wait for it; replay or discard it")
	} else if err == nil && r.Held > 1 {
		_, err = fmt.Fprintf(s.stdout, "kept %d dead events, because later events of their keys wait for them; replay or discard them\n", r.Held)
	}
	return err
}

// events formats a number of events.
func events(n int64) string {
	return english.Count(n, "event", "events")
}

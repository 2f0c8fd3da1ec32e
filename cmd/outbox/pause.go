package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/bento-outbox/watermill-outbox/monitor/statuspage"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// pausable is what operators can pause.
type pausable struct {
	Kind string `arg:"" enum:"destination,tenant,key" help:"destination, tenant or key."`
	Name string `arg:"" help:"A destination as stats and dead list show it, NAME:// for all of a publisher, a tenant's id, or an ordering key as dead show shows it, such as order:17."`
}

func (p pausable) check(f *faults) {
	if p.Name == "" {
		f.add("the name of the %s is empty", p.Kind)
	}
}

func (p pausable) String() string { return p.Kind + " " + printable(p.Name) }

// change calls do with the pause of p, nil when it is not paused, and prints what do says.
func (p pausable) change(s *session, d databaseFlags, do func(ctx context.Context, store *schema.Store, now *schema.Control) (string, error)) error {
	target := d.check(&s.faults)
	p.check(&s.faults)
	return s.withStore(target, func(ctx context.Context, store *schema.Store) error {
		list, err := store.Controls(ctx)
		if err != nil {
			return target.explain(err)
		}
		var now *schema.Control
		if i := slices.IndexFunc(list, func(c schema.Control) bool { return string(c.Kind) == p.Kind && c.Name == p.Name }); i >= 0 {
			now = &list[i]
		}
		said, err := do(ctx, store, now)
		if err != nil {
			return target.explain(err)
		}
		_, err = fmt.Fprintln(s.stdout, said)
		return err
	})
}

type pauseCommand struct {
	databaseFlags
	pausable
	Reason string `placeholder:"TEXT" help:"Why, for those who look at stats."`
}

// Run holds deliveries until somebody resumes them.
func (c *pauseCommand) Run(s *session) error {
	if n := len(c.Reason); n > statuspage.MaxReason {
		s.faults.add("--reason: it has %d bytes; say it in %d", n, statuspage.MaxReason)
	}
	return c.change(s, c.databaseFlags, func(ctx context.Context, store *schema.Store, now *schema.Control) (string, error) {
		if now != nil && (c.Reason == "" || c.Reason == now.Reason) { // else the reason would be lost
			return fmt.Sprintf("nothing to do: %s is paused since %s", c.pausable, timeText(now.Since)), nil
		}
		return fmt.Sprintf("paused %s", c.pausable), store.Pause(ctx, schema.ControlKind(c.Kind), c.Name, c.Reason)
	})
}

type resumeCommand struct {
	databaseFlags
	pausable
}

// Run ends a pause.
func (c *resumeCommand) Run(s *session) error {
	return c.change(s, c.databaseFlags, func(ctx context.Context, store *schema.Store, now *schema.Control) (string, error) {
		if now == nil {
			return fmt.Sprintf("nothing to do: %s is not paused", c.pausable), nil
		}
		return fmt.Sprintf("resumed %s", c.pausable), store.Resume(ctx, schema.ControlKind(c.Kind), c.Name)
	})
}

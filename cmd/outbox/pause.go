package main

import (
	"context"
	"fmt"
	"slices"

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

// find returns the pause of p, if it is paused.
func (p pausable) find(ctx context.Context, store *schema.Store) (schema.Control, bool, error) {
	list, err := store.Controls(ctx)
	i := slices.IndexFunc(list, func(c schema.Control) bool { return string(c.Kind) == p.Kind && c.Name == p.Name })
	if i < 0 {
		return schema.Control{}, false, err
	}
	return list[i], true, err
}

type pauseCommand struct {
	databaseFlags
	pausable
	Reason string `placeholder:"TEXT" help:"Why, for those who look at stats."`
}

// Run holds deliveries until somebody resumes them.
func (c *pauseCommand) Run(s *session) error {
	target := c.databaseFlags.check(&s.faults)
	c.pausable.check(&s.faults)
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
	now, paused, err := c.find(ctx, store)
	if err != nil {
		return target.explain(err)
	}
	if paused && (c.Reason == "" || c.Reason == now.Reason) { // else the reason would be lost
		fmt.Fprintf(s.stdout, "nothing to do: %s is paused since %s\n", c.pausable, timeText(now.Since))
		return nil
	}
	if err := store.Pause(ctx, schema.ControlKind(c.Kind), c.Name, c.Reason); err != nil {
		return target.explain(err)
	}
	fmt.Fprintln(s.stdout, "paused", c.pausable)
	return nil
}

type resumeCommand struct {
	databaseFlags
	pausable
}

// Run ends a pause.
func (c *resumeCommand) Run(s *session) error {
	target := c.databaseFlags.check(&s.faults)
	c.pausable.check(&s.faults)
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
	_, paused, err := c.find(ctx, store)
	if err != nil {
		return target.explain(err)
	}
	if !paused {
		fmt.Fprintf(s.stdout, "nothing to do: %s is not paused\n", c.pausable)
		return nil
	}
	if err := store.Resume(ctx, schema.ControlKind(c.Kind), c.Name); err != nil {
		return target.explain(err)
	}
	fmt.Fprintln(s.stdout, "resumed", c.pausable)
	return nil
}

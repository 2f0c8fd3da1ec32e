package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/bento-outbox/watermill-outbox/admin"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/monitor/statuspage"
)

// pausable are the flags that name what to pause or resume. They are pointers, because an empty name is a fault.
type pausable struct {
	Destination *string `placeholder:"NAME" xor:"what" required:"" help:"A destination, as stats and dead list show it; NAME:// for everything that goes to a publisher."`
	Tenant      *string `placeholder:"ID" xor:"what" required:"" help:"A tenant."`
	Key         *string `placeholder:"KEY" xor:"what" required:"" help:"An ordering key, as dead show shows it, such as order:17."`
}

// check returns the kind and the name of what the flags name.
func (p pausable) check(f *faults) (kind admin.Kind, name string) {
	for k, value := range map[admin.Kind]*string{
		admin.Destination: p.Destination, admin.Tenant: p.Tenant, admin.Key: p.Key,
	} {
		if value != nil {
			kind, name = k, f.name("--"+string(k), *value)
		}
	}
	return kind, name
}

// change calls do with what p means, and with its pause if it is paused, else nil, and prints what do says.
func (p pausable) change(s *session, do func(ctx context.Context, client *admin.Client, what admin.Pause, now *admin.Pause) (string, error)) error {
	target := s.database()
	var what admin.Pause
	what.Kind, what.Name = p.check(&s.faults)
	return s.withAdmin(target, func(ctx context.Context, client *admin.Client) error {
		list, err := client.Pauses(ctx)
		if err != nil {
			return err
		}
		var now *admin.Pause
		if i := slices.IndexFunc(list, func(c admin.Pause) bool { return c.Kind == what.Kind && c.Name == what.Name }); i >= 0 {
			now = &list[i]
		}
		said, err := do(ctx, client, what, now)
		if err != nil {
			return err
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

// Run holds deliveries until they are resumed.
func (c *pauseCommand) Run(s *session) error {
	if n := len(c.Reason); n > statuspage.MaxReason {
		s.faults.Add("--reason: it has %d bytes, want at most %d", n, statuspage.MaxReason)
	}
	if err := store.CheckText(c.Reason, statuspage.MaxReason); err != nil && len(c.Reason) <= statuspage.MaxReason {
		s.faults.Add("--reason: %w", err)
	}
	return c.change(s, func(ctx context.Context, client *admin.Client, what admin.Pause, now *admin.Pause) (string, error) {
		if now != nil && (c.Reason == "" || c.Reason == now.Reason) { // else the reason would be lost
			return fmt.Sprintf("nothing to do: %s is paused since %s", named(what), timeText(now.Since)), nil
		}
		return "paused " + named(what), client.Pause(ctx, what.Kind, what.Name, c.Reason)
	})
}

func named(c admin.Pause) string { return string(c.Kind) + " " + printable(c.Name) }

type resumeCommand struct {
	databaseFlags
	pausable
}

// Run ends a pause.
func (c *resumeCommand) Run(s *session) error {
	return c.change(s, func(ctx context.Context, client *admin.Client, what admin.Pause, now *admin.Pause) (string, error) {
		if now == nil {
			return fmt.Sprintf("nothing to do: %s is not paused", named(what)), nil
		}
		return "resumed " + named(what), client.Resume(ctx, what.Kind, what.Name)
	})
}

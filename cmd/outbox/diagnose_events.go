package main

import (
	"context"

	"github.com/bento-outbox/watermill-outbox/monitor"
)

// holding finds dead letters that keep later events of their keys waiting.
func (e *examiner) holding(ctx context.Context) error {
	dead, behind, err := e.store.Holding(ctx)
	if dead > 0 {
		e.add(monitor.Warning, "outbox dead list says which: holds key. Replay them, or let the others go on without them: outbox dead discard",
			"Dead letters that hold their keys: %d; deliveries that wait for them: %d.", dead, behind)
	}
	return err
}

// hotKey finds the key that most of a backlog has.
func (e *examiner) hotKey(ctx context.Context) error {
	const backlog, half = 1000, 2
	if e.snapshot.Totals.Pending < backlog {
		return nil
	}
	k, err := e.store.HottestKey(ctx)
	if k.Of*half > k.Seen {
		e.add(monitor.Info, "Its events go one after the other: make the destination answer faster, or use a finer key. More forwarders do not help it; other keys pass it.",
			"The key %s has %d of %d pending events that were looked at.", k.Key, k.Of, k.Seen)
	}
	return err
}

// trigger finds out whether anybody will look at what is stored.
func (e *examiner) trigger(ctx context.Context) error {
	fix, err := e.store.Untriggered(ctx)
	if fix != "" {
		e.add(monitor.Critical, fix, "The trigger that makes events pending is missing or disabled: what is stored now is delivered to nobody.")
	}
	return err
}

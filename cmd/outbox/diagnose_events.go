package main

import (
	"context"
	"strings"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/monitor"
)

// holding finds dead letters that hold back later deliveries of their keys.
func (e *examiner) holding(ctx context.Context) error {
	dead, behind, err := e.store.Holding(ctx)
	if dead > 0 {
		e.add("held_keys", monitor.Warning, "outbox dead list says which: holds key. Fix the cause and replay them: outbox dead replay --seq SEQ. Or let the others go on without them: outbox dead discard --seq SEQ --yes",
			"Dead letters that hold their keys: %d; deliveries that wait for them: %d.", dead, behind)
	}
	return err
}

// hotKey finds an ordering key with most of the backlog.
func (e *examiner) hotKey(ctx context.Context) error {
	const backlog, half = 1000, 2
	if e.snapshot.Totals.Pending < backlog {
		return nil
	}
	k, err := e.store.HottestKey(ctx)
	if k.Of*half > k.Seen {
		e.add("hot_key", monitor.Info, "Its events go one after the other: make the destination answer faster, or use a finer key. More forwarders do not help it; other keys pass it.",
			"The key %s has %d of %d pending events that were looked at.", k.Key, k.Of, k.Seen)
	}
	return err
}

// triggers finds missing and disabled triggers, which make events pending and delete what belongs to a deleted event.
func (e *examiner) triggers(ctx context.Context) error {
	list, err := e.store.Triggers(ctx)
	for _, t := range list {
		switch {
		case t.State == store.TriggerOK:
		case t.State == store.TriggerPartial:
			e.add("triggers", monitor.Warning, t.Fix, "The trigger that makes events pending does not fire in sessions with session_replication_role = replica: what they store is delivered to nobody.")
		case t.Fills:
			e.add("triggers", monitor.Critical, t.Fix, "The trigger that makes events pending is missing or disabled: what is stored now is delivered to nobody.")
		case strings.HasSuffix(t.Name, "_event_metadata"):
			e.add("triggers", monitor.Warning, t.Fix, "The trigger %s is %s: metadata with reserved names is not refused.", t.Name, t.State)
		default:
			e.add("triggers", monitor.Warning, t.Fix, "The trigger %s is %s: an event that is deleted leaves its deliveries behind, and they hold back later events of its key.", t.Name, t.State)
		}
	}
	return err
}

// leftovers finds pending entries and deliveries of events that are not in the table.
func (e *examiner) leftovers(ctx context.Context) error {
	l, err := e.store.Leftovers(ctx)
	if l.Fix != "" {
		e.add("leftovers", monitor.Warning, l.Fix, "Entries whose event is not in the table: pending %d, deliveries %d. They hold back later events of their keys. "+
			"A partition was detached or dropped, or events were deleted past the trigger.", l.Pending, l.Deliveries)
	}
	return err
}

package engine

import (
	"context"
	"slices"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// heldRun is how many deliveries that are held behind one of their key are read with it, so that they need not be made due one by one.
const heldRun = 16

// lookForDue queues deliveries whose time has come.
func (in *intake) lookForDue(ctx context.Context, slots []int, room int) (int, error) {
	const atLeastEvery = time.Second // finds what operators have changed
	e := in.e
	e.mu.Lock()
	now := time.Now()
	if now.Before(in.nextDue) {
		e.mu.Unlock()
		return 0, nil
	}
	in.nextDue = now.Add(atLeastEvery)
	running := 0
	for _, s := range e.lanes.slots {
		running += s.retries
	}
	e.mu.Unlock()

	// Slots take turns at being first, for the limit may leave out the last.
	in.turn = (in.turn + 1) % len(slots)
	slots = slices.Concat(slots[in.turn:], slots[:in.turn])
	due, err := e.store.Due(ctx, slots, room+running, heldRun, inlinePayload, e.cfg.Filter)
	if err != nil {
		return 0, err
	}
	wait, waiting, err := e.store.NextDue(ctx, slots)
	if err != nil {
		return 0, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	taken := in.takeRetries(due, nil)
	if waiting {
		if wait <= 0 && taken == 0 {
			wait = 100 * time.Millisecond // in flight already, or another group's
		}
		in.dueBy(now.Add(wait))
	}
	e.pump()
	return taken, nil
}

// takeRetries queues deliveries that are retried, those that sc found or those that are due, and returns how many are new. What is held for
// something that is blocked stays held, unless it is to probe. The caller holds mu.
//
// A later delivery of a key must not be taken after an earlier one was passed by, or was left in memory, because its destination was blocked for a
// moment. So a scan begins anew where a gate has moved since the scan came to the first delivery behind it.
func (in *intake) takeRetries(list []store.Due, sc *scan) (taken int) {
	e := in.e
	passed := map[tailID]bool{}
	for i := range list {
		d := &list[i].Delivery
		s := e.lanes.slots[d.Slot]
		if s == nil || s.draining || list[i].Event.Topic == "" {
			continue
		}
		own := *d // the list is long and must not be kept for one of it
		u := &Unit{Event: list[i].Event, Retry: &own, Epoch: s.epoch}
		if d.State == store.Held && (sc == nil || !sc.probe) {
			tripped, gate, moves := e.gates.Tripped(&u.Event, d.Destination)
			if sc != nil && sc.moved(gate, moves) {
				sc.restart()
				return taken
			}
			id := tailID{d.Slot, blockID{target: d.Target}}
			if d.KeyHash != nil {
				id.key = *d.KeyHash
			}
			if tripped || d.KeyHash != nil && passed[id] {
				passed[id] = true
				continue
			}
			u.scan = sc
		}
		if _, known := e.lanes.known[u.id()]; known {
			continue
		}
		e.lanes.add(u, s, !e.cfg.Unordered)
		taken++
	}
	return taken
}

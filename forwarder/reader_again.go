package forwarder

import (
	"context"
	"slices"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// scan reads what is held for a destination, for a publisher, or all that is held, in the order of its numbers.
type scan struct {
	scope    heldScope
	probe    bool // one delivery a slot is enough
	after    map[int]int64
	least    int                      // to read of a slot
	repeat   bool                     // what it has passed by may have become free meanwhile
	moves    map[*publisherGate]int64 // of a gate when the first delivery behind it was found
	restarts int                      // what was read before the last one does not count
}

func newScan(scope heldScope, probe bool) *scan {
	return &scan{scope: scope, probe: probe, after: map[int]int64{}, moves: map[*publisherGate]int64{}}
}

// heldRun is how many deliveries that are held behind one of their key are read with it, so that they need not be made due one by one.
const heldRun = 16

// lookForDue queues deliveries whose time has come.
func (r *reader) lookForDue(ctx context.Context, slots []int, room int) (int, error) {
	const atLeastEvery = time.Second // finds what operators have changed
	r.mu.Lock()
	now := time.Now()
	if now.Before(r.nextDue) {
		r.mu.Unlock()
		return 0, nil
	}
	r.nextDue = now.Add(atLeastEvery)
	running := 0
	for _, s := range r.slots {
		running += s.retries
	}
	r.mu.Unlock()

	// Slots take turns at being first, for the limit may leave out the last.
	r.turn = (r.turn + 1) % len(slots)
	slots = slices.Concat(slots[r.turn:], slots[:r.turn])
	due, err := r.store.Due(ctx, slots, room+running, heldRun, inlinePayload, r.filter)
	if err != nil {
		return 0, err
	}
	wait, waiting, err := r.store.NextDue(ctx, slots)
	if err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.takeAgain(due, nil)
	if waiting {
		if wait <= 0 && taken == 0 {
			wait = 100 * time.Millisecond // in flight already, or another group's
		}
		if t := now.Add(wait); t.Before(r.nextDue) {
			r.nextDue = t
		}
	}
	r.pump()
	return taken, nil
}

// takeAgain queues deliveries that are tried again, those that sc found or those that are due, and returns how many are new. What is held for
// something that is closed stays held, unless it is to probe. The caller holds mu.
//
// A later delivery of a key must not be taken after an earlier one was passed by, or was left in memory, because something was shut for a
// moment. So a scan begins anew where a gate has moved since the scan came to the first delivery behind it.
func (r *reader) takeAgain(list []store.Due, sc *scan) (taken int) {
	passed := map[heldID]bool{}
	for i := range list {
		d := &list[i].Delivery
		s := r.slots[d.Slot]
		if s == nil || s.draining || list[i].Event.Topic == "" {
			continue
		}
		own := *d // the list is long and must not be kept for one of it
		u := &unit{event: list[i].Event, retry: &own, epoch: s.epoch, reader: r}
		if d.State == store.Held && r.sub.gates != nil && (sc == nil || !sc.probe) {
			shut, moves := r.sub.gates.shut(u, d.Destination)
			if sc != nil && sc.moved(r.sub.gates.of(d.Destination), moves) {
				sc.restart()
				return taken
			}
			key := heldID{d.Slot, blockID{target: d.Target}}
			if d.KeyHash != nil {
				key.key = *d.KeyHash
			}
			if shut || d.KeyHash != nil && passed[key] {
				passed[key] = true
				continue
			}
			u.scan = sc
		}
		if _, known := r.known[u.id()]; known {
			continue
		}
		r.enqueue(u, s)
		taken++
	}
	return taken
}

// moved tells whether a gate has moved since the scan asked first.
func (s *scan) moved(gate *publisherGate, moves int64) bool {
	before, asked := s.moves[gate]
	s.moves[gate] = moves
	return asked && before != moves
}

// restart makes the scan begin anew.
func (s *scan) restart() {
	s.restarts++
	clear(s.after)
	clear(s.moves)
}

// scanHeld plans to go on with what is held, after something has opened. The caller holds mu.
//
// Scans under way begin anew: they have passed by what was closed, and must not come to a later delivery of the same key first.
func (r *reader) scanHeld(scope heldScope) {
	for _, s := range r.scans {
		s.restart()
	}
	r.scans = slices.DeleteFunc(r.scans, func(s *scan) bool { return s.scope == scope })
	r.scans = append(r.scans, newScan(scope, false))
	r.wakePoll.give()
}

// lookForHeld queues a part of what is held and may go on. Scanning tells that there is more of it to look at.
func (r *reader) lookForHeld(ctx context.Context, slots []int, room int) (taken int, scanning bool, err error) {
	r.planProbes()
	r.mu.Lock()
	if len(r.scans) == 0 {
		r.mu.Unlock()
		return 0, false, nil
	}
	sc := r.scans[0]
	restarts := sc.restarts
	ranges := make([]store.Range, len(slots))
	for i, n := range slots {
		ranges[i] = store.Range{Slot: n, After: sc.after[n]}
	}
	r.mu.Unlock()

	limit := max(room/len(slots), 64, sc.least) // more than the targets of one event, whose rows share a number
	if sc.probe {
		limit = 1
	}
	list, err := r.store.Held(ctx, r.held[:0], ranges, limit, inlinePayload, r.filter, sc.scope.name, sc.scope.bare)
	if err != nil {
		return 0, false, err
	}
	defer func() {
		clear(list) // which hold on to payloads
		r.held = list
	}()
	r.mu.Lock()
	defer r.mu.Unlock()
	if sc.restarts != restarts {
		return 0, true, nil
	}
	taken = r.takeAgain(list, sc)
	if sc.restarts != restarts {
		r.pump()
		return taken, true, nil
	}
	count, first := map[int]int{}, map[int]int64{}
	for _, d := range list {
		if count[d.Slot]++; count[d.Slot] == 1 {
			first[d.Slot] = d.Seq
		}
		sc.after[d.Slot] = d.Seq - 1 // other targets of the same event may have been cut off
		if count[d.Slot] == limit && first[d.Slot] == d.Seq {
			sc.least = 2 * limit // they were, all of them: more must be read at once
		}
	}
	full := false
	for _, n := range count {
		full = full || n == limit
	}
	switch {
	case full && !sc.probe:
	case sc.repeat:
		sc.repeat = false
		sc.restart()
	case len(r.scans) > 0 && r.scans[0] == sc:
		r.scans = r.scans[1:]
	}
	r.pump()
	return taken, len(r.scans) > 0 && taken > 0, nil
}

// planProbes gives what is out of reach a delivery to probe with, if any is held.
func (r *reader) planProbes() {
	if r.sub.gates == nil || time.Since(r.probed) < r.sub.gates.probe {
		return
	}
	r.probed = time.Now()
	for _, scope := range r.sub.gates.probes() {
		r.mu.Lock()
		if !slices.ContainsFunc(r.scans, func(s *scan) bool { return s.scope == scope }) {
			r.scans = append([]*scan{newScan(scope, true)}, r.scans...) // a long scan must not delay it
		}
		r.mu.Unlock()
	}
}

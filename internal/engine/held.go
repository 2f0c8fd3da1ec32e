package engine

import (
	"context"
	"slices"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// scan reads what is held in a scope, in the order of its numbers.
type scan struct {
	scope    Scope
	probe    bool // one delivery a slot is enough
	after    map[int]int64
	least    int              // to read of a slot
	repeat   bool             // what it has passed by may have become free meanwhile
	moves    map[string]int64 // of a gate when the first delivery behind it was found
	restarts int              // what was read before the last one does not count
}

func newScan(scope Scope, probe bool) *scan {
	return &scan{scope: scope, probe: probe, after: map[int]int64{}, moves: map[string]int64{}}
}

// moved reports whether a gate has moved since the scan asked first.
func (s *scan) moved(gate string, moves int64) bool {
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
// Scans under way begin anew: they have passed by what was blocked, and must not come to a later delivery of the same key first.
func (in *intake) scanHeld(scope Scope) {
	for _, s := range in.scans {
		s.restart()
	}
	in.scans = slices.DeleteFunc(in.scans, func(s *scan) bool { return s.scope == scope })
	in.scans = append(in.scans, newScan(scope, false))
	in.wake.give()
}

// scanning reports whether s still goes on. The caller holds mu.
func (in *intake) scanning(s *scan) bool { return slices.Contains(in.scans, s) }

// lookForHeld queues a part of what is held and may go on. Scanning reports whether there is more of it to look at.
func (in *intake) lookForHeld(ctx context.Context, slots []int, room int) (taken int, scanning bool, err error) {
	in.planProbes()
	e := in.e
	e.mu.Lock()
	if len(in.scans) == 0 {
		e.mu.Unlock()
		return 0, false, nil
	}
	sc := in.scans[0]
	restarts := sc.restarts
	ranges := make([]store.Range, len(slots))
	for i, n := range slots {
		ranges[i] = store.Range{Slot: n, After: sc.after[n]}
	}
	e.mu.Unlock()

	limit := max(room/len(slots), 64, sc.least) // more than the targets of one event, whose rows share a number
	if sc.probe {
		limit = 1
	}
	list, err := e.store.Held(ctx, in.held[:0], ranges, limit, inlinePayload, e.cfg.Filter, sc.scope.Name, sc.scope.Bare)
	if err != nil {
		return 0, false, err
	}
	defer func() {
		clear(list) // which hold on to payloads
		in.held = list
	}()
	e.mu.Lock()
	defer e.mu.Unlock()
	if sc.restarts != restarts {
		return 0, true, nil
	}
	taken = in.takeRetries(list, sc)
	e.pump()
	if sc.restarts != restarts {
		return taken, true, nil
	}
	full := sc.advance(list, limit)
	switch {
	case full && !sc.probe:
	case sc.repeat:
		sc.repeat = false
		sc.restart()
	case len(in.scans) > 0 && in.scans[0] == sc:
		in.scans = in.scans[1:]
	}
	return taken, len(in.scans) > 0 && taken > 0, nil
}

// advance notes how far list, which was read with limit rows a slot, has come. It reports whether there may be more.
func (s *scan) advance(list []store.Due, limit int) (full bool) {
	count, first := map[int]int{}, map[int]int64{}
	for _, d := range list {
		if count[d.Slot]++; count[d.Slot] == 1 {
			first[d.Slot] = d.Seq
		}
		s.after[d.Slot] = d.Seq - 1 // other targets of the same event may have been cut off
		if count[d.Slot] == limit {
			full = true
			if first[d.Slot] == d.Seq {
				s.least = 2 * limit // they were, all of them: more must be read at once
			}
		}
	}
	return full
}

// planProbes gives what is out of reach a delivery to probe with, if any is held.
func (in *intake) planProbes() {
	e := in.e
	if time.Since(in.probed) < e.cfg.ProbeInterval {
		return
	}
	in.probed = time.Now()
	for _, scope := range e.gates.Probes() {
		e.mu.Lock()
		if !slices.ContainsFunc(in.scans, func(s *scan) bool { return s.scope == scope }) {
			in.scans = append([]*scan{newScan(scope, true)}, in.scans...) // a long scan must not delay it
		}
		e.mu.Unlock()
	}
}

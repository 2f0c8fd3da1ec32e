package engine

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// lookForNew reads the events that are pending above what was read. It returns how many are new, and whether more is waiting.
func (in *intake) lookForNew(ctx context.Context, all []int, room int) (taken int, more bool, err error) {
	e := in.e
	mark, err := e.store.Ask(ctx)
	if err != nil {
		return 0, false, err
	}
	swept := in.sweep.due(time.Now(), all)
	if in.marks.quiet(mark) && len(swept) == 0 && !in.unread() {
		return 0, false, nil
	}
	writers, err := e.store.Writers(ctx)
	if err != nil {
		return 0, false, err
	}
	from, late := in.marks.advance(mark, writers)
	rule := from // what the rule of writers' locks finds by itself
	for _, l := range late {
		rule = min(rule, l.After)
	}
	if len(swept) > 0 && in.sweep.begins() {
		e.Opened(Scope{})
	}
	start := time.Now()
	ranges, whole := in.ranges(from, rule, room, in.sweep.atOnce(len(all)), swept)
	events, err := e.store.Read(ctx, in.batch[:0], ranges, inlinePayload, e.cfg.Filter, late)
	took := time.Since(start)
	if whole > 0 && (err == nil || took > sweepMoment) {
		in.sweep.took(took, whole, len(all))
	}
	if err != nil {
		return 0, false, err
	}
	taken, more = in.take(events, ranges, mark)
	more = more || in.unread()
	e.cfg.Hooks.Read(taken, took)
	clear(events) // which hold on to payloads
	in.batch = events
	if len(swept) > 0 {
		in.sweep.done(time.Now(), took, swept, all)
	}
	return taken, more, nil
}

// unread reports whether a slot that is read has more than was read of it. One that drains is not read any more.
func (in *intake) unread() bool {
	in.e.mu.Lock()
	defer in.e.mu.Unlock()
	for _, s := range in.e.lanes.slots {
		if !s.draining && (s.fresh || s.more) {
			return true
		}
	}
	return false
}

// ranges says what to read: every slot above its mark and not above from, and the slots of swept from the start. Slots known to have more share
// the room. What a sweep finds above rule was not missed. Of slots that must be read from the start for other reasons no more than atOnce are
// read now. Whole is how many are read from the start.
func (in *intake) ranges(from, rule int64, room, atOnce int, swept []int) (list []store.Range, whole int) {
	in.e.mu.Lock()
	defer in.e.mu.Unlock()
	slots := in.e.lanes.slots
	backlogged := 0
	for _, s := range slots {
		if !s.draining && (s.more || s.fresh) {
			backlogged++
		}
	}
	list = make([]store.Range, 0, len(slots))
	for n, s := range slots {
		if s.draining {
			continue
		}
		if s.fresh && s.next == 0 {
			if whole == atOnce {
				continue // it stays fresh
			}
			whole++
		}
		s.swept = min(s.swept, rule)
		if slices.Contains(swept, n) && !s.fresh {
			s.swept = min(s.next, rule)
			s.next = 0
			whole++
		}
		s.next = min(s.next, from)
		limit := room / len(slots)
		if s.more || s.fresh {
			limit = room / backlogged
		}
		s.fresh = false
		list = append(list, store.Range{Slot: n, After: s.next, Limit: max(limit, 8)})
	}
	slices.SortFunc(list, func(a, b store.Range) int { return cmp.Compare(a.Slot, b.Slot) })
	return list, whole
}

// take queues what was read. It returns how many events are new, and whether more is waiting.
func (in *intake) take(events []store.Event, ranges []store.Range, mark store.Mark) (taken int, more bool) {
	bySlotAndSeq := func(a, b store.Event) int { return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.Seq, b.Seq)) }
	if !slices.IsSortedFunc(events, bySlotAndSeq) {
		slices.SortFunc(events, bySlotAndSeq)
	}
	e := in.e
	e.mu.Lock()
	defer e.mu.Unlock()
	missed := 0
	for _, rg := range ranges {
		n := 0
		for n < len(events) && events[n].Slot == rg.Slot {
			n++
		}
		mine := events[:n]
		events = events[n:]
		s := e.lanes.slots[rg.Slot]
		if s == nil || s.draining {
			continue
		}
		if s.fresh { // given up meanwhile: what was read is incomplete
			more = true
			continue
		}
		s.next, s.more = mark.Last, n == rg.Limit
		if s.more {
			s.next = min(mine[n-1].Seq, mark.Last)
			more = true
		}
		for i := range mine {
			event := &mine[i]
			if event.Topic == "" { // another group's
				continue
			}
			if _, known := e.lanes.known[unitID{event.Seq, ""}]; known {
				continue
			}
			if event.Seq <= s.swept {
				missed++
			}
			e.lanes.add(&Unit{Event: *event, Epoch: s.epoch}, s, !e.cfg.Unordered)
			taken++
		}
		if !s.more {
			s.swept = 0
		}
	}
	if missed > 0 {
		e.logger.Info("A sweep found events that were missed before", watermill.LogFields{"events": missed})
	}
	e.pump()
	return taken, more
}

package forwarder

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// pollLoop reads until the reader stops.
func (r *reader) pollLoop() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.ctx))
	defer cancel()
	go func() {
		select {
		case <-r.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	var m marks
	sweep := newSweeper(r.cfg.SweepInterval, time.Now())
	idle, failures := r.cfg.SleepIdle, 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-r.stopping:
			return
		case <-timer.C:
		case <-r.wakePoll:
		}
		found, err := r.look(ctx, &m, sweep)
		wait := r.cfg.SleepBusy
		switch {
		case err != nil:
			if ctx.Err() != nil {
				return
			}
			// Whatever answers next may be another server: nothing that was seen counts any more.
			m.reset()
			r.rereadAll()
			wait = backoff(failures)
			r.setReadFails(true)
			if failures++; notable(failures) {
				r.logger.Error("Cannot read the outbox; trying again until it works", err, nil)
			}
			r.pause(wait)
		case found == lookFull:
			wait = r.cfg.SleepIdleMax // a worker or the settler wakes the loop before
		case found == lookMore:
			wait = 0
		case found == lookNothing:
			wait = idle
			idle = min(idle*3/2, r.cfg.SleepIdleMax)
		}
		if err == nil && found != lookFull && failures > 0 { // a full one has not read
			r.setReadFails(false)
			r.logger.Info("Reading the outbox again", watermill.LogFields{"failures": failures})
			failures = 0
		}
		if found != lookNothing {
			idle = r.cfg.SleepIdle
		}
		timer.Reset(wait)
	}
}

func (r *reader) setReadFails(fails bool) {
	r.mu.Lock()
	r.readFails = fails
	r.mu.Unlock()
}

// pause waits for d, or until the reader stops; wake-ups do not shorten it.
func (r *reader) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.stopping:
	}
}

// backoff returns the wait after a number of failures in a row: 100 ms, doubled up to 5 s.
func backoff(failures int) time.Duration {
	return min(100*time.Millisecond<<min(failures, 6), 5*time.Second)
}

// notable reports whether a failure in a row, counted from 1, is logged: ever fewer are, so that a cause that has changed is seen and the log is not flooded.
func notable(failures int) bool { return failures&(failures-1) == 0 }

type lookResult int

const (
	lookNothing lookResult = iota // nothing new
	lookSome                      // something, and nothing is left
	lookMore                      // something, and more is waiting
	lookFull                      // not looked: no room, no lease, or outcomes cannot be written
)

// look asks the database what is new and takes it in.
func (r *reader) look(ctx context.Context, m *marks, sweep *sweeper) (lookResult, error) {
	room, all := r.prepare()
	if room == 0 {
		return lookFull, nil
	}
	if len(all) == 0 {
		return lookNothing, nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.QueryTimeout)
	defer cancel()
	found := lookNothing
	n, err := r.lookForDue(ctx, all, room)
	if err != nil {
		return 0, err
	}
	if n > 0 {
		found = lookSome
		if room -= n; room < 1 {
			return lookMore, nil
		}
	}
	n, scanning, err := r.lookForHeld(ctx, all, room)
	if err != nil {
		return 0, err
	}
	if scanning {
		found = lookMore
		if room -= n; room < 1 {
			return lookMore, nil
		}
	}
	mark, err := r.store.Ask(ctx)
	if err != nil {
		return 0, err
	}
	swept := sweep.due(time.Now(), all)
	if m.quiet(mark) && len(swept) == 0 && !r.unread() {
		return found, nil
	}
	writers, err := r.store.Writers(ctx)
	if err != nil {
		return 0, err
	}
	from, late := m.advance(mark, writers)
	rule := from // what the rule of writers' locks finds by itself
	for _, l := range late {
		rule = min(rule, l.After)
	}
	if len(swept) > 0 && sweep.begins() {
		r.mu.Lock()
		r.scanHeld(heldScope{})
		r.mu.Unlock()
	}
	start := time.Now()
	ranges, whole := r.ranges(from, rule, room, sweep.atOnce(len(all)), swept)
	events, err := r.store.Read(ctx, r.batch[:0], ranges, inlinePayload, r.filter, late)
	took := time.Since(start)
	if whole > 0 && (err == nil || took > sweepMoment) {
		sweep.took(took, whole, len(all))
	}
	if err != nil {
		return 0, err
	}
	taken, more := r.take(events, ranges, mark)
	more = more || r.unread()
	r.cfg.Hooks.Read(taken, took)
	clear(events) // which hold on to payloads
	r.batch = events
	if len(swept) > 0 {
		sweep.done(time.Now(), took, swept, all)
	}
	switch {
	case more:
		found = lookMore
	case taken > 0 && found == lookNothing:
		found = lookSome
	}
	return found, nil
}

// prepare forgets what is settled, which must be before anything is read, and returns how many events there is room for and which slots to
// read. Room is 0 when nothing must be started now.
func (r *reader) prepare() (room int, slots []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range r.settled {
		if r.known[u.id()] == u { // else it was lost, and has been read again
			delete(r.known, u.id())
		}
		r.dropTail(u)
	}
	clear(r.settled)
	r.settled = r.settled[:0]
	if r.broken || r.lease.left(r.now()) <= r.cfg.PublishTimeout {
		return 0, nil
	}
	room = 3*r.cfg.BatchSize + r.cfg.MaxConcurrent - len(r.known)
	if r.full = room < r.cfg.BatchSize; r.full {
		return 0, nil
	}
	for n, s := range r.slots {
		if !s.draining {
			slots = append(slots, n)
		}
	}
	slices.Sort(slots)
	return min(room, r.cfg.BatchSize), slots
}

// unread tells whether a slot that is read has more than was read of it. One that drains is not read any more.
func (r *reader) unread() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.slots {
		if !s.draining && (s.fresh || s.more) {
			return true
		}
	}
	return false
}

func (r *reader) rereadAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.slots {
		s.reread()
	}
	r.nextDue = time.Time{}
}

func (s *slot) reread() { s.fresh, s.next = true, 0 }

// ranges says what to read: every slot above its mark and not above from, and the slots of swept from the start. Slots known to have more share
// the room. What a sweep finds above rule was not missed. Of slots that must be read from the start for other reasons no more than atOnce are
// read now. Whole is how many are read from the start.
func (r *reader) ranges(from, rule int64, room, atOnce int, swept []int) (list []store.Range, whole int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	backlogged := 0
	for _, s := range r.slots {
		if !s.draining && (s.more || s.fresh) {
			backlogged++
		}
	}
	list = make([]store.Range, 0, len(r.slots))
	for n, s := range r.slots {
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
		limit := room / len(r.slots)
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
func (r *reader) take(events []store.Event, ranges []store.Range, mark store.Mark) (taken int, more bool) {
	bySlotAndSeq := func(a, b store.Event) int { return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.Seq, b.Seq)) }
	if !slices.IsSortedFunc(events, bySlotAndSeq) {
		slices.SortFunc(events, bySlotAndSeq)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	missed := 0
	for _, rg := range ranges {
		n := 0
		for n < len(events) && events[n].Slot == rg.Slot {
			n++
		}
		mine := events[:n]
		events = events[n:]
		s := r.slots[rg.Slot]
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
			e := &mine[i]
			if e.Topic == "" { // another group's
				continue
			}
			if _, known := r.known[unitID{e.Seq, ""}]; known {
				continue
			}
			if e.Seq <= s.swept {
				missed++
			}
			u := &unit{event: *e, epoch: s.epoch, reader: r}
			r.enqueue(u, s)
			taken++
		}
		if !s.more {
			s.swept = 0
		}
	}
	if missed > 0 {
		r.logger.Info("A sweep found events that were missed before", watermill.LogFields{"events": missed})
	}
	r.pump()
	return taken, more
}

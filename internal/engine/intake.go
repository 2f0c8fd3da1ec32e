package engine

import (
	"context"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// intake decides what to read, and reads it: what is new, what is due, and what was held and may go on.
type intake struct {
	e    *Engine
	wake signal

	// The engine's mutex guards these.
	scans   []*scan   // of held deliveries, to go on with
	nextDue time.Time // when to look for due deliveries
	full    bool      // the loop waits for room
	fails   bool      // the last read failed

	// The loop's own.
	marks  marks
	sweep  *sweeper
	turn   int           // of the slots, when deliveries are due
	probed time.Time     // when destinations out of reach were given a delivery to probe with
	batch  []store.Event // memory of the last read
	held   []store.Due   // the same, of what was held
}

// loop reads until the engine stops.
func (in *intake) loop() {
	e := in.e
	ctx, cancel := context.WithCancel(context.WithoutCancel(e.ctx))
	defer cancel()
	go func() {
		select {
		case <-e.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	in.sweep = newSweeper(e.cfg.SweepInterval, time.Now())
	idle, failures := e.cfg.SleepIdle, 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-e.stopping:
			return
		case <-timer.C:
		case <-in.wake:
		}
		found, err := in.look(ctx)
		wait := e.cfg.SleepBusy
		switch {
		case err != nil:
			if ctx.Err() != nil {
				return
			}
			// Whatever answers next may be another server: nothing that was seen counts any more.
			in.marks.reset()
			in.failed()
			wait = Backoff(failures)
			if failures++; Notable(failures) {
				e.logger.Error("Cannot read the outbox; trying again until it works", err, nil)
			}
			e.pause(wait)
		case found == lookFull:
			wait = e.cfg.SleepIdleMax // a worker or the settler wakes the loop before
		case found == lookMore:
			wait = 0
		case found == lookNothing:
			wait = idle
			idle = min(idle*3/2, e.cfg.SleepIdleMax)
		}
		if err == nil && found != lookFull && failures > 0 { // a full one has not read
			e.mu.Lock()
			in.fails = false
			e.mu.Unlock()
			e.logger.Info("Reading the outbox again", watermill.LogFields{"failures": failures})
			failures = 0
		}
		if found != lookNothing {
			idle = e.cfg.SleepIdle
		}
		timer.Reset(wait)
	}
}

// failed makes everything be read again after a failure.
func (in *intake) failed() {
	in.e.mu.Lock()
	defer in.e.mu.Unlock()
	for _, s := range in.e.lanes.slots {
		s.reread()
	}
	in.nextDue, in.fails = time.Time{}, true
}

type lookResult int

const (
	lookNothing lookResult = iota // nothing new
	lookSome                      // something, and nothing is left
	lookMore                      // something, and more is waiting
	lookFull                      // not looked: no room, no lease, or outcomes cannot be written
)

// look asks the database what is new and takes it in.
func (in *intake) look(ctx context.Context) (lookResult, error) {
	e := in.e
	room, all := in.prepare()
	if room == 0 {
		return lookFull, nil
	}
	if len(all) == 0 {
		return lookNothing, nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.QueryTimeout)
	defer cancel()
	found := lookNothing
	n, err := in.lookForDue(ctx, all, room)
	if err != nil {
		return 0, err
	}
	if n > 0 {
		found = lookSome
		if room -= n; room < 1 {
			return lookMore, nil
		}
	}
	n, scanning, err := in.lookForHeld(ctx, all, room)
	if err != nil {
		return 0, err
	}
	if scanning {
		found = lookMore
		if room -= n; room < 1 {
			return lookMore, nil
		}
	}
	taken, more, err := in.lookForNew(ctx, all, room)
	switch {
	case err != nil:
		return 0, err
	case more:
		found = lookMore
	case taken > 0 && found == lookNothing:
		found = lookSome
	}
	return found, nil
}

// prepare forgets what is settled, which must be before anything is read, and returns how many events there is room for and which slots to
// read. Room is 0 when nothing must be started now.
func (in *intake) prepare() (room int, slots []int) {
	e := in.e
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, u := range e.settler.settled {
		e.lanes.forgetSettled(u)
	}
	clear(e.settler.settled)
	e.settler.settled = e.settler.settled[:0]
	if e.settler.broken || e.leases.until.left(e.cfg.Now()) <= e.cfg.PublishTimeout {
		return 0, nil
	}
	room = 3*e.cfg.BatchSize + e.cfg.MaxConcurrent - len(e.lanes.known)
	if in.full = room < e.cfg.BatchSize; in.full {
		return 0, nil
	}
	for n, s := range e.lanes.slots {
		if !s.draining {
			slots = append(slots, n)
		}
	}
	slices.Sort(slots)
	return min(room, e.cfg.BatchSize), slots
}

// dueBy makes the loop look for due deliveries not later than t. The caller holds mu.
func (in *intake) dueBy(t time.Time) {
	if t.Before(in.nextDue) {
		in.nextDue = t
	}
}

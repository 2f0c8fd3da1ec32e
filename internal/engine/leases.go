package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// leases is the membership in the group, and the slots that come with it. The engine's mutex guards it.
type leases struct {
	e    *Engine
	wake signal

	id    string  // as a member of the group
	until Instant // when the lease ends
	kept  bool    // the share of slots was taken, once at least
	fails bool    // the last attempt to keep the lease failed
	told  int     // slots, as the hook was told
}

// join makes the engine a member of its group under a new id.
func (l *leases) join(ctx context.Context) error {
	e := l.e
	ctx, cancel := context.WithTimeout(ctx, e.cfg.QueryTimeout)
	defer cancel()
	id, sent := watermill.NewUUID(), e.cfg.Now()
	if err := e.store.Join(ctx, e.cfg.Group, id, e.cfg.Filter, e.cfg.Lease); err != nil {
		return err
	}
	e.mu.Lock()
	l.id, l.until = id, sent.after(e.cfg.Lease)
	e.mu.Unlock()
	return nil
}

// leave ends the membership, which gives the slots back.
func (l *leases) leave() error {
	e := l.e
	ctx, cancel := context.WithTimeout(context.Background(), e.cfg.QueryTimeout)
	defer cancel()
	e.mu.Lock()
	id := l.id
	e.lanes.slots = map[int]*slot{}
	l.tellSlots()
	e.mu.Unlock()
	return e.store.Leave(ctx, id)
}

// loop keeps the lease and the fair share of slots until end is closed.
func (l *leases) loop(end <-chan struct{}) {
	e := l.e
	tick := min(time.Second, e.cfg.Lease/6)
	timer := time.NewTimer(0)
	defer timer.Stop()
	failures := 0
	for {
		select {
		case <-end:
			return
		case <-timer.C:
		case <-l.wake:
		}
		err := l.keep()
		e.mu.Lock()
		l.kept, l.fails = l.kept || err == nil, err != nil
		e.mu.Unlock()
		switch {
		case err == nil && failures > 0:
			e.logger.Info("The lease is kept again", watermill.LogFields{"failures": failures})
			failures = 0
		case err != nil:
			if failures++; Notable(failures) {
				e.logger.Error("Cannot keep the lease of the slots; publishing stops before it ends", err, nil)
			}
		}
		timer.Reset(tick)
	}
}

// keep renews the lease, then moves towards the fair share of slots.
func (l *leases) keep() error {
	e := l.e
	ctx, cancel := context.WithTimeout(context.Background(), min(e.cfg.QueryTimeout, e.cfg.Lease/3))
	defer cancel()
	e.mu.Lock()
	id := l.id
	e.mu.Unlock()
	sent := e.cfg.Now()
	slots, err := e.store.Renew(ctx, id, e.cfg.Lease)
	if errors.Is(err, store.ErrNotMember) {
		e.logger.Info("The lease had ended and others may have the slots; joining again", nil)
		e.mu.Lock()
		l.lose(func(int, *slot) bool { return true })
		e.mu.Unlock()
		return l.join(ctx)
	}
	if err != nil {
		return err
	}
	e.mu.Lock()
	l.until = sent.after(e.cfg.Lease)
	known := len(e.lanes.slots)
	e.mu.Unlock()
	if slots != known {
		if err := l.reconcile(ctx, id); err != nil {
			return err
		}
	}
	if err := l.giveBackDrained(ctx, id); err != nil {
		return err
	}
	select {
	case <-e.stopping:
		return nil
	default:
	}
	if err := l.lookAtControls(ctx); err != nil {
		return err
	}
	return l.share(ctx, id)
}

// lookAtControls takes over what operators have paused or resumed.
func (l *leases) lookAtControls(ctx context.Context) error {
	controls, err := l.e.store.Controls(ctx)
	if err != nil {
		return err
	}
	resumed, outdated := l.e.gates.Control(controls)
	if resumed {
		l.e.Opened(Scope{})
	}
	for _, c := range outdated {
		if err := l.e.store.Resume(ctx, c.Kind, c.Name); err != nil {
			return err
		}
	}
	return nil
}

// reconcile makes the engine and the database agree on what the engine owns. They disagree when slots were taken but the answer was lost: those
// would be served by nobody for as long as the lease is renewed. They are given back, to be taken anew.
func (l *leases) reconcile(ctx context.Context, id string) error {
	e := l.e
	list, err := e.store.Owned(ctx, id)
	if err != nil {
		return err
	}
	owned := make(map[int]int64, len(list))
	var unknown []int
	e.mu.Lock()
	for _, lease := range list {
		owned[lease.Slot] = lease.Epoch
		if s := e.lanes.slots[lease.Slot]; s == nil || s.epoch != lease.Epoch {
			unknown = append(unknown, lease.Slot)
		}
	}
	l.lose(func(n int, s *slot) bool { return s.epoch != owned[n] })
	e.mu.Unlock()
	if len(unknown) == 0 {
		return nil
	}
	e.logger.Info("Giving back slots that were taken without the answer arriving", watermill.LogFields{"slots": len(unknown)})
	return e.store.Release(ctx, id, unknown)
}

// lose forgets slots that are another's. What is in flight of them ends by itself: its success counts, its failure does not. The caller holds mu.
func (l *leases) lose(which func(n int, s *slot) bool) {
	e := l.e
	lost := map[int]bool{}
	for n, s := range e.lanes.slots {
		if which(n, s) {
			lost[n] = true
			delete(e.lanes.slots, n)
		}
	}
	if len(lost) == 0 {
		return
	}
	l.tellSlots()
	e.lanes.drop(func(n int) bool { return lost[n] })
	e.settler.outcomes = slices.DeleteFunc(e.settler.outcomes, func(u *Unit) bool {
		if !lost[u.Event.Slot] || u.delivered() {
			return false
		}
		e.returned(u)
		e.lanes.forget(u)
		return true
	})
}

// tellSlots tells the hook how the number of slots has changed. The caller holds mu.
func (l *leases) tellSlots() {
	change := len(l.e.lanes.slots) - l.told
	l.told += change
	l.e.cfg.Hooks.Slots(change)
}

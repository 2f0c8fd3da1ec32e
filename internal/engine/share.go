package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill"
)

// share moves towards the fair share of the group's slots.
func (l *leases) share(ctx context.Context, id string) error {
	members, err := l.e.store.Members(ctx, l.e.cfg.Group)
	if err != nil {
		return err
	}
	total := l.e.store.SlotCount()
	fair := (total + len(members) - 1) / max(len(members), 1)
	missing := l.drainAbove(fair)
	if missing <= 0 {
		return l.giveBackDrained(ctx, id)
	}
	return l.acquire(ctx, id, missing)
}

// acquire takes up to n slots that nobody owns and reads which keys are held back in them before anything of them is sent.
func (l *leases) acquire(ctx context.Context, id string, n int) error {
	e := l.e
	list, err := e.store.Acquire(ctx, e.cfg.Group, id, n)
	if err != nil || len(list) == 0 {
		return err
	}
	numbers := make([]int, len(list))
	for i, lease := range list {
		numbers[i] = lease.Slot
	}
	held, err := e.store.HeldKeys(ctx, numbers)
	if err != nil {
		return errors.Join(err, e.store.Release(ctx, id, numbers))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, lease := range list {
		e.lanes.slots[lease.Slot] = &slot{epoch: lease.Epoch, cursor: cursor{fresh: true}, blocks: map[blockID]*block{}}
	}
	e.intake.scanHeld(Scope{}) // for some may be held for what is open to this forwarder
	for _, k := range held {
		e.lanes.slots[k.Slot].blocks[blockID{k.Target, k.KeyHash}] = &block{rows: true}
	}
	e.intake.nextDue = time.Time{}
	e.intake.wake.give()
	l.tellSlots()
	e.logger.Debug("Took slots", watermill.LogFields{"slots": len(list)})
	return nil
}

// drainAbove starts to drain what is above the fair share and returns how many slots are missing from it.
func (l *leases) drainAbove(fair int) (missing int) {
	e := l.e
	e.mu.Lock()
	defer e.mu.Unlock()
	var mine []int
	draining := 0
	for n, s := range e.lanes.slots {
		if s.draining {
			draining++
		} else {
			mine = append(mine, n)
		}
	}
	if len(mine) <= fair {
		return fair - len(mine) - draining
	}
	slices.Sort(mine)
	for _, n := range mine[fair:] {
		e.lanes.slots[n].draining = true
	}
	e.lanes.drop(func(n int) bool { return e.lanes.slots[n] != nil && e.lanes.slots[n].draining })
	return 0
}

// giveBackDrained gives back draining slots with nothing in flight.
func (l *leases) giveBackDrained(ctx context.Context, id string) error {
	e := l.e
	e.mu.Lock()
	var drained []int
	for n, s := range e.lanes.slots {
		if s.draining && s.units == 0 {
			drained = append(drained, n)
		}
	}
	e.mu.Unlock()
	if len(drained) == 0 {
		return nil
	}
	if err := e.store.Release(ctx, id, drained); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range drained {
		delete(e.lanes.slots, n)
	}
	l.tellSlots()
	e.logger.Debug("Gave slots back", watermill.LogFields{"slots": len(drained)})
	return nil
}

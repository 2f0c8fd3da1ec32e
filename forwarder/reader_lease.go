package forwarder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// join makes the reader a member of its group under a new id.
func (r *reader) join(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.QueryTimeout)
	defer cancel()
	id, sent := watermill.NewUUID(), r.now()
	if err := r.store.Join(ctx, r.group, id, r.filter, r.cfg.Lease); err != nil {
		return err
	}
	r.mu.Lock()
	r.id, r.lease = id, sent.after(r.cfg.Lease)
	r.mu.Unlock()
	return nil
}

// leave ends the membership, which releases the slots.
func (r *reader) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), r.cfg.QueryTimeout)
	defer cancel()
	r.mu.Lock()
	id := r.id
	r.slots = map[int]*slot{}
	r.tellSlots()
	r.mu.Unlock()
	if err := r.store.Leave(ctx, id); err != nil {
		return fmt.Errorf("outbox subscriber: others take over when the lease of %s ends: %w", r.cfg.Lease, err)
	}
	return nil
}

// leaseLoop keeps the lease and the fair share of slots until end is closed.
func (r *reader) leaseLoop(end <-chan struct{}) {
	tick := min(time.Second, r.cfg.Lease/6)
	timer := time.NewTimer(0)
	defer timer.Stop()
	failures := 0
	for {
		select {
		case <-end:
			return
		case <-timer.C:
		case <-r.wakeLease:
		}
		err := r.keep()
		r.mu.Lock()
		r.kept, r.leaseFails = r.kept || err == nil, err != nil
		r.mu.Unlock()
		switch {
		case err == nil && failures > 0:
			r.logger.Info("The lease is kept again", watermill.LogFields{"failures": failures})
			failures = 0
		case err != nil:
			if failures++; notable(failures) {
				r.logger.Error("Cannot keep the lease of the slots; publishing stops before it ends", err, nil)
			}
		}
		timer.Reset(tick)
	}
}

// keep renews the lease, then moves towards the fair share of slots.
func (r *reader) keep() error {
	ctx, cancel := context.WithTimeout(context.Background(), min(r.cfg.QueryTimeout, r.cfg.Lease/3))
	defer cancel()
	r.mu.Lock()
	id := r.id
	r.mu.Unlock()
	sent := r.now()
	slots, err := r.store.Renew(ctx, id, r.cfg.Lease)
	if errors.Is(err, store.ErrNotMember) {
		r.logger.Info("The lease had ended and others may have the slots; joining again", nil)
		r.loseAll()
		return r.join(ctx)
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.lease = sent.after(r.cfg.Lease)
	known := len(r.slots)
	r.mu.Unlock()
	if slots != known {
		if err := r.reconcile(ctx, id); err != nil {
			return err
		}
	}
	if err := r.releaseDrained(ctx, id); err != nil {
		return err
	}
	select {
	case <-r.stopping:
		return nil
	default:
	}
	if err := r.lookAtControls(ctx); err != nil {
		return err
	}
	members, err := r.store.Members(ctx, r.group)
	if err != nil {
		return err
	}
	total := r.store.SlotCount()
	share := (total + len(members) - 1) / max(len(members), 1)
	missing := r.drainAbove(share)
	if missing <= 0 {
		return r.releaseDrained(ctx, id)
	}
	return r.acquire(ctx, id, missing)
}

// reconcile makes the reader and the database agree on what the reader owns. They disagree when slots were taken but the answer was lost: those would
// be served by nobody for as long as the lease is renewed. They are given back, to be taken anew.
func (r *reader) reconcile(ctx context.Context, id string) error {
	leases, err := r.store.Owned(ctx, id)
	if err != nil {
		return err
	}
	owned := make(map[int]int64, len(leases))
	var unknown []int
	r.mu.Lock()
	for _, l := range leases {
		owned[l.Slot] = l.Epoch
		if s := r.slots[l.Slot]; s == nil || s.epoch != l.Epoch {
			unknown = append(unknown, l.Slot)
		}
	}
	r.lose(func(n int, s *slot) bool { return s.epoch != owned[n] })
	r.mu.Unlock()
	if len(unknown) == 0 {
		return nil
	}
	r.logger.Info("Giving back slots that were taken without the answer arriving", watermill.LogFields{"slots": len(unknown)})
	return r.store.Release(ctx, id, unknown)
}

// lookAtControls takes over what operators have paused or resumed.
func (r *reader) lookAtControls(ctx context.Context) error {
	gates := r.sub.gates
	if gates == nil {
		return nil
	}
	controls, err := r.store.Controls(ctx)
	if err != nil {
		return err
	}
	if gates.pause(controls) {
		r.mu.Lock()
		r.scanHeld(heldScope{})
		r.mu.Unlock()
	}
	for _, c := range controls {
		if c.Kind == store.Unreachable && gates.proven(c.Name) { // a note that a forwarder left behind
			if err := r.store.Resume(ctx, c.Kind, c.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// acquire takes up to n slots that nobody owns and reads which keys are held back in them before anything of them is sent.
func (r *reader) acquire(ctx context.Context, id string, n int) error {
	leases, err := r.store.Acquire(ctx, r.group, id, n)
	if err != nil || len(leases) == 0 {
		return err
	}
	numbers := make([]int, len(leases))
	for i, l := range leases {
		numbers[i] = l.Slot
	}
	held, err := r.store.HeldKeys(ctx, numbers)
	if err != nil {
		return errors.Join(err, r.store.Release(ctx, id, numbers))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range leases {
		r.slots[l.Slot] = &slot{epoch: l.Epoch, fresh: true, blocks: map[blockID]*block{}}
	}
	r.scanHeld(heldScope{}) // for some may be held for what is open to this forwarder
	for _, k := range held {
		r.slots[k.Slot].blocks[blockID{k.Target, k.KeyHash}] = &block{rows: true}
	}
	r.nextDue = time.Time{}
	r.wakePoll.give()
	r.tellSlots()
	r.logger.Debug("Took slots", watermill.LogFields{"slots": len(leases)})
	return nil
}

// tellSlots tells the hook how many slots all readers of the subscriber own. The caller holds mu.
func (r *reader) tellSlots() {
	s := r.sub
	s.ownedMu.Lock()
	defer s.ownedMu.Unlock()
	s.owned += len(r.slots) - r.told
	r.told = len(r.slots)
	r.cfg.Hooks.Slots(s.owned)
}

// drainAbove starts to drain what is above the fair share and returns how many slots are missing from it.
func (r *reader) drainAbove(share int) (missing int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var mine []int
	draining := 0
	for n, s := range r.slots {
		if s.draining {
			draining++
		} else {
			mine = append(mine, n)
		}
	}
	if len(mine) <= share {
		return share - len(mine) - draining
	}
	slices.Sort(mine)
	for _, n := range mine[share:] {
		r.slots[n].draining = true
	}
	r.dropQueued(func(n int) bool { return r.slots[n] != nil && r.slots[n].draining })
	return 0
}

// releaseDrained gives back draining slots with nothing in flight.
func (r *reader) releaseDrained(ctx context.Context, id string) error {
	r.mu.Lock()
	var drained []int
	for n, s := range r.slots {
		if s.draining && s.units == 0 {
			drained = append(drained, n)
		}
	}
	r.mu.Unlock()
	if len(drained) == 0 {
		return nil
	}
	if err := r.store.Release(ctx, id, drained); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range drained {
		delete(r.slots, n)
	}
	r.tellSlots()
	r.logger.Debug("Gave slots back", watermill.LogFields{"slots": len(drained)})
	return nil
}

// loseAll forgets the slots of a lease that ended.
func (r *reader) loseAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lose(func(int, *slot) bool { return true })
}

// lose forgets slots that are another's. What is in flight of them ends by itself: its success counts, its failure does not. The caller holds mu.
func (r *reader) lose(which func(n int, s *slot) bool) {
	lost := map[int]bool{}
	for n, s := range r.slots {
		if which(n, s) {
			lost[n] = true
			delete(r.slots, n)
		}
	}
	if len(lost) == 0 {
		return
	}
	r.tellSlots()
	r.dropQueued(func(n int) bool { return lost[n] })
	r.outcomes = slices.DeleteFunc(r.outcomes, func(u *unit) bool {
		if !lost[u.event.Slot] || u.delivered() {
			return false
		}
		r.sub.repeats.note(u)
		r.forget(u)
		return true
	})
}

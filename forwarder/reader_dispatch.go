package forwarder

import (
	"context"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/delivery"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

// enqueue takes u into memory: behind the others of its key, or ready to run. The caller holds mu.
func (r *reader) enqueue(u *unit, s *slot) {
	if key := u.event.Key(); key != "" && !r.cfg.Unordered && (u.retry == nil || u.retry.KeyHash != nil) {
		u.key, u.keyed = store.KeyHash(u.event.TenantID, key), true
	}
	r.known[u.id()] = u
	s.units++
	if u.retry != nil {
		s.retries++
		if u.keyed {
			u.after, r.tails[u.tail()] = r.tails[u.tail()], u
		}
	}
	if !u.keyed {
		r.ready = append(r.ready, u)
		return
	}
	if c, busy := r.chains[u.key]; busy {
		c.queue = append(c.queue, u)
		return
	}
	r.chains[u.key] = &chain{}
	r.ready = append(r.ready, u)
}

// pump starts workers for what is ready. The caller holds mu.
func (r *reader) pump() {
	for r.active < r.cfg.MaxConcurrent && !r.halted {
		u := r.nextReady()
		if u == nil {
			return
		}
		r.active++
		go r.worker(u)
	}
}

func (r *reader) nextReady() *unit {
	if len(r.ready) == 0 {
		return nil
	}
	u := r.ready[0]
	r.ready[0] = nil
	if r.ready = r.ready[1:]; len(r.ready) == 0 {
		r.ready = nil
	}
	return u
}

func (r *reader) worker(u *unit) {
	for u != nil {
		if r.work(u) {
			return
		}
		u.seal()
		u = r.complete(u)
	}
}

// handled goes on where worker left off, in the goroutine of the handler, when that has ended or panicked.
func (r *reader) handled(u *unit) {
	if !u.decided() {
		if r.ctx.Err() != nil {
			u.abandon()
		} else {
			r.sub.finish(u, false)
		}
	}
	u.seal()
	r.worker(r.complete(u))
}

// work hands u out as a message and waits for its ack or nack. It does not wait, and returns true, where nothing but the forwarder's handler can have
// the message: that calls handled at its end, which saves two switches of goroutines an event.
func (r *reader) work(u *unit) (handedOver bool) {
	if before := u.after; before != nil {
		if !before.through() {
			u.leave(before.leftToGoOn())
			return false
		}
		u.after = nil
	}
	if !r.mayPublish(u, r.now()) {
		u.abandon()
		return false
	}
	if r.sub.plain {
		if t := r.sub.plainTarget(u); u.heldBack(t.name) {
			u.held(t)
			return false
		}
	}
	if !r.load(u) {
		u.abandon()
		return false
	}
	u.outcome = delivery.New(u.attempts()+1, u.event.CreatedAt).Under(r.ctx, r.sub.plain)
	msg, err := messageOf(&u.event, r.store.Identity())
	if err != nil {
		u.failed(fallbackTarget(u), middleware.Permanent(err))
		return false
	}
	if !r.alone && !r.sub.plain {
		u.course, u.repeat = &course{}, u.retry != nil || r.sub.repeats.take(u.event.Seq)
	}
	var ctx context.Context = unitContext{r.ctx, u}
	if r.sub.plain { // a forwarder's handler leaves nothing behind that would have to be told that it ended
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
	}
	msg.SetContext(ctx)
	select {
	case r.out <- msg:
	case <-r.stopping:
		if !u.repeat {
			u.course = nil // nobody has seen it
		}
		u.abandon()
		return false
	}
	if r.alone {
		return true
	}
	if !r.sub.plain {
		r.await(u, msg)
		return false
	}
	select {
	case <-msg.Acked():
		r.sub.finish(u, true)
	case <-msg.Nacked():
		if r.ctx.Err() != nil && u.outcome.Outcome().Kind == delivery.None {
			u.abandon() // the handler was told to end: that is no failure
			return false
		}
		r.sub.finish(u, false)
	case <-r.abort:
		u.abandon()
	}
	return false
}

// fallbackTarget stands for the targets of an event that could not be planned.
func fallbackTarget(u *unit) target {
	if !u.whole() {
		return target{name: u.retry.Target, destination: u.retry.Destination, policy: middleware.Policies()["default"]}
	}
	destination := u.event.RoutingKey
	if destination == "" {
		destination = u.event.Topic
	}
	return target{name: store.Unrouted, destination: targetName(destination), policy: middleware.Policies()["default"]}
}

// load fetches a payload that was too long to come with its batch, when there is memory for it.
func (r *reader) load(u *unit) bool {
	if u.event.PayloadSize <= inlinePayload {
		return true
	}
	weight := int64(min(u.event.PayloadSize, bigPayloads))
	if err := r.big.Acquire(r.ctx, weight); err != nil {
		return false
	}
	u.loaded = weight
	ctx, cancel := context.WithTimeout(r.ctx, r.cfg.QueryTimeout)
	defer cancel()
	payload, err := r.store.Payload(ctx, u.event.Seq)
	u.event.Payload = payload
	return err == nil
}

// unload forgets a payload that was fetched.
func (r *reader) unload(u *unit) {
	if u.loaded > 0 {
		r.big.Release(u.loaded)
		u.event.Payload, u.loaded = nil, 0
	}
}

// complete books what became of u and returns the next unit for its worker, nil when there is none.
func (r *reader) complete(u *unit) *unit {
	r.unload(u)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case u.abandoned, !u.left && !u.delivered() && !r.owns(u):
		r.giveUp(u)
	case u.left:
		r.forget(u)
		// What it was left for may have opened again, and a scan passed it by because it was in memory.
		if u.again && !r.halted && r.sub.gates != nil && !r.sub.gates.closed(u, u.retry.Destination) {
			r.scanHeld(r.sub.gates.scope(u.retry.Destination))
		}
	default:
		r.book(u)
		r.outcomes = append(r.outcomes, u)
		if len(r.outcomes) == 1 || len(r.outcomes) >= r.cfg.SettleBatch {
			r.wakeSettle.give()
		}
	}
	if u.keyed {
		if c := r.chains[u.key]; c != nil && len(c.queue) > 0 {
			r.ready = append(r.ready, c.queue[0])
			c.queue = c.queue[1:]
		} else {
			delete(r.chains, u.key)
		}
	}
	if !r.halted {
		if next := r.nextReady(); next != nil {
			return next
		}
	}
	r.active--
	if r.halted && r.active == 0 {
		close(r.quiet)
	}
	return nil
}

// owns tells whether the lease that u was read under is still the reader's. Failures of another's are refused when they are to be written.
// The caller holds mu.
func (r *reader) owns(u *unit) bool {
	s := r.slots[u.event.Slot]
	return s != nil && s.epoch == u.epoch
}

// book notes at once which keys u holds back, so that the next unit of its key sees it.
func (r *reader) book(u *unit) {
	s := r.slots[u.event.Slot]
	if s == nil || s.epoch != u.epoch || !u.keyed || u.retry != nil {
		return
	}
	for _, res := range u.results {
		if !res.holds() {
			continue
		}
		id := blockID{res.name, u.key}
		b := s.blocks[id]
		if b == nil {
			b = &block{}
			s.blocks[id] = b
		}
		b.unsettled++
	}
}

// holds tells whether the result keeps later events of its key back.
func (res *result) holds() bool { return res.state != "" && !res.free }

// giveUp forgets u, and what waits behind it, as if they had not been read. The caller holds mu.
func (r *reader) giveUp(u *unit) {
	r.sub.repeats.note(u)
	r.forget(u)
	again := u.retry != nil
	if u.keyed {
		if c := r.chains[u.key]; c != nil {
			for _, q := range c.queue {
				r.forget(q)
				again = again || q.retry != nil
			}
			c.queue = nil
		}
	}
	if s := r.slots[u.event.Slot]; s != nil {
		s.reread()
	}
	r.nextDue = time.Time{}
	if again { // what is held may have lost the one in memory that would have made it go on
		r.scanHeld(heldScope{})
	}
}

func (r *reader) forget(u *unit) {
	delete(r.known, u.id())
	r.dropTail(u)
	r.released(u)
}

// dropTail makes the next delivery of u's key and target wait for what u waited for. The caller holds mu.
func (r *reader) dropTail(u *unit) {
	if u.retry == nil || !u.keyed || r.tails[u.tail()] != u {
		return
	}
	before := u.after
	for before != nil && r.known[before.id()] != before {
		before = before.after
	}
	if before == nil {
		delete(r.tails, u.tail())
	} else {
		r.tails[u.tail()] = before
	}
}

// released takes u off the books of its slot. The caller holds mu.
func (r *reader) released(u *unit) {
	s := r.slots[u.event.Slot]
	if s == nil || s.epoch != u.epoch {
		return
	}
	if s.units--; s.units == 0 && s.draining {
		r.wakeLease.give()
	}
	if u.retry != nil {
		s.retries--
	}
}

// dropQueued forgets every unit that is not in flight and for which drop holds. Keys stay within one slot, so drop must not split one.
// The caller holds mu.
func (r *reader) dropQueued(drop func(slot int) bool) {
	kept := r.ready[:0:0]
	for _, u := range r.ready {
		if !drop(u.event.Slot) {
			kept = append(kept, u)
			continue
		}
		r.forget(u)
		if u.keyed {
			for _, q := range r.chains[u.key].queue {
				r.forget(q)
			}
			delete(r.chains, u.key)
		}
	}
	r.ready = kept
	for _, c := range r.chains { // of units in flight
		if len(c.queue) > 0 && drop(c.queue[0].event.Slot) {
			for _, q := range c.queue {
				r.forget(q)
			}
			c.queue = nil
		}
	}
}

// halt drops what is not in flight; quiet is closed when nothing is.
func (r *reader) halt() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.halted = true
	r.dropQueued(func(int) bool { return true })
	if r.active == 0 {
		close(r.quiet)
	}
}

// mayPublish tells whether a publish of u may be started now: the lease must outlast it, and outcomes must be writable.
func (r *reader) mayPublish(u *unit, now instant) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.slots[u.event.Slot]
	return !r.broken && !r.over && s != nil && s.epoch == u.epoch && r.lease.left(now) > r.cfg.PublishTimeout
}

func (r *reader) heldBack(slotNumber int, target string, key int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.slots[slotNumber]
	return s != nil && s.blocks[blockID{target, key}] != nil
}

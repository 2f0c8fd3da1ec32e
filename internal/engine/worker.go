package engine

import (
	"context"
	"time"
)

// workers are the goroutines that deliver units. The engine's mutex guards it.
//
// A worker that takes a unit starts another worker while more units are ready. It waits for that one to run before it starts the next: while
// deliveries do not block, a few workers do all the work, and when they block there are as many as units, up to MaxConcurrent.
type workers struct {
	active   int  // running, or about to
	starting bool // one is about to run
	halted   bool
	quiet    chan struct{} // closed when the last worker has gone after halted
}

// pump starts a worker if one is needed. The caller holds mu.
func (e *Engine) pump() {
	if len(e.lanes.ready) > 0 && !e.workers.starting && e.workers.active < e.cfg.MaxConcurrent && !e.workers.halted {
		e.workers.starting = true
		e.workers.active++
		go e.worker()
	}
}

func (e *Engine) worker() {
	e.mu.Lock()
	e.workers.starting = false
	u := e.take()
	e.mu.Unlock()
	e.deliverFrom(u)
}

// deliverFrom delivers u and what comes after it. A delivery that ends its goroutine, as a failed test does in a publisher, ends no worker: another one goes on.
func (e *Engine) deliverFrom(u *Unit) {
	defer func() {
		if u != nil {
			u.verdict = Verdict{}
			go e.deliverFrom(e.complete(u))
		}
	}()
	for u != nil {
		u.verdict = e.work(u)
		u = e.complete(u)
	}
}

// take returns the next unit of a worker, which ends when it is nil. The caller holds mu.
func (e *Engine) take() *Unit {
	w := &e.workers
	if !w.halted && e.ctx.Err() == nil { // else halt is about to be called
		if u := e.lanes.next(); u != nil {
			e.pump()
			return u
		}
	}
	w.active--
	if w.halted && w.active == 0 {
		close(w.quiet)
	}
	return nil
}

// halt drops what is not in flight; quiet is closed when nothing is.
func (e *Engine) halt() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.workers.halted = true
	e.lanes.drop(func(int) bool { return true })
	if e.workers.active == 0 {
		close(e.workers.quiet)
	}
}

// work has u delivered.
func (e *Engine) work(u *Unit) Verdict {
	if before := u.after; before != nil {
		switch {
		case before.through():
			u.after = nil
		case before.verdict.Fate == Blocked:
			return Verdict{Fate: Blocked}
		default:
			return Verdict{Fate: Kept}
		}
	}
	if !e.mayPublish(u, e.cfg.Now()) || !e.load(u) {
		return Verdict{}
	}
	return e.deliver.Deliver(e.ctx, u, Permit{e, u})
}

// complete books what became of u and returns the next unit for its worker, nil when there is none.
func (e *Engine) complete(u *Unit) *Unit {
	e.unload(u)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch fate := u.verdict.Fate; {
	case fate == Undecided, fate == Decided && !u.delivered() && !e.lanes.owned(u):
		e.giveUp(u)
	case fate == Decided:
		e.lanes.block(u)
		e.settler.add(u)
	default:
		e.lanes.forget(u)
		// What it was left for may have opened again, and a scan passed it by because it was in memory.
		if fate == Blocked && !e.workers.halted && !e.gates.Blocked(&u.Event, u.Retry.Destination) {
			e.intake.scanHeld(e.gates.Scope(u.Retry.Destination))
		}
	}
	e.lanes.advance(u)
	return e.take()
}

// giveUp forgets u, and what waits behind it, as if they had not been read. The caller holds mu.
func (e *Engine) giveUp(u *Unit) {
	e.returned(u)
	e.lanes.forget(u)
	retries := e.lanes.forgetBehind(u) || u.Retry != nil
	if s := e.lanes.slots[u.Event.Slot]; s != nil {
		s.reread()
	}
	e.intake.nextDue = time.Time{}
	if retries { // what is held may have lost the one in memory that would have made it go on
		e.intake.scanHeld(Scope{})
	}
}

// returned reports an event that was shown to middlewares and comes again as on its first pass.
func (e *Engine) returned(u *Unit) {
	if u.verdict.Shown && u.Retry == nil && e.cfg.Returned != nil {
		e.cfg.Returned(u.Event.Seq)
	}
}

// Permit is what the delivery of a unit may ask the engine while it goes on. It is safe for concurrent use.
type Permit struct {
	e *Engine
	u *Unit
}

// Publish reports whether a publish may start now: the lease outlasts it, outcomes can be written and the engine is not aborted. The context
// bounds the publish; it has the values of values, and does not end when the engine stops.
func (p Permit) Publish(values context.Context) (context.Context, bool) {
	now := p.e.cfg.Now()
	if !p.e.mayPublish(p.u, now) {
		return nil, false
	}
	return p.e.publishing.context(now.monotonic, values), true
}

// HeldBack reports whether an earlier event of the unit's key is not through to a target. Only a first pass asks: a retry has waited for its turn.
func (p Permit) HeldBack(target string) bool {
	if !p.u.keyed || p.u.Retry != nil {
		return false
	}
	p.e.mu.Lock()
	defer p.e.mu.Unlock()
	return p.e.lanes.heldBack(p.u, target)
}

// Aborted is closed when the engine does not wait for the delivery any more.
func (p Permit) Aborted() <-chan struct{} { return p.e.aborted }

// mayPublish reports whether a publish of u may start now.
func (e *Engine) mayPublish(u *Unit, now Instant) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.settler.broken && !e.over && e.lanes.owned(u) && e.leases.until.left(now) > e.cfg.PublishTimeout
}

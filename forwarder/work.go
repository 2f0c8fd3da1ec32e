package forwarder

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/delivery"
	"github.com/bento-outbox/watermill-outbox/internal/engine"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

// work is what is done for one unit: it records what becomes of each target, until it is sealed. It is safe for concurrent use.
type work struct {
	*engine.Unit
	permit engine.Permit
	ctx    context.Context // of the engine; ends when that stops

	outcome *delivery.Delivery // what middlewares around the handler decided; nil without a Router of the application
	course  *course            // the same
	repeat  bool               // it was shown to middlewares before, and nothing came of that which could be written down

	mu      sync.Mutex
	sealed  bool // nobody waits for results any more
	blocked bool // the delivery stays held as it is
	results []result
	few     [1]result
}

func newWork(ctx context.Context, u *engine.Unit, permit engine.Permit) *work {
	w := &work{Unit: u, permit: permit, ctx: ctx}
	w.results = w.few[:0]
	return w
}

// target is where a unit should go, and how hard to try.
type target struct {
	name, destination string
	policy            middleware.RetryPolicy
	holdKey           bool // later events of the key wait for it when it is dead
}

// result is what became of a unit for one target.
type result struct {
	target
	state    store.State // empty: delivered
	attempts int
	wait     time.Duration
	err      string
	free     bool // stands outside the order of its key from now on
	untried  bool // nothing was sent nor decided
	parked   bool // held by a gate, not by its key
	fellBack bool // gave up, and goes on to the fallback
	cancels  bool // when it gives up, the other targets of the event do too
}

// gaveUp reports whether the target will not get the event any more.
func (res *result) gaveUp() bool { return res.state == store.Dead || res.fellBack }

func (w *work) record(r result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.sealed {
		w.results = append(w.results, r)
	}
}

// recorded reports whether anything was recorded for the named target.
func (w *work) recorded(target string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.results, func(r result) bool { return r.name == target })
}

// decided reports whether anything was recorded.
func (w *work) decided() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.blocked || len(w.results) > 0
}

// verdict seals the work and returns what became of the unit. One none of whose targets was tried is undecided.
func (w *work) verdict() engine.Verdict {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := engine.Verdict{Shown: w.course != nil}
	if w.sealed {
		return v
	}
	w.sealed = true
	switch {
	case w.blocked:
		v.Fate = engine.Blocked
	case slices.ContainsFunc(w.results, func(r result) bool { return !r.untried }):
		v.Fate = engine.Decided
		v.Results = make([]engine.Result, len(w.results))
		for i := range w.results {
			v.Results[i] = w.results[i].stored(w)
		}
	}
	return v
}

// stored returns the result as it is written.
func (res *result) stored(w *work) engine.Result {
	r := engine.Result{
		Target: res.name, Destination: res.destination, State: res.state, Attempts: res.attempts, Wait: res.wait, Error: res.err, Free: res.free,
		Parked: res.parked,
	}
	if res.state != "" {
		r.Destination = targetName(res.destination)
	}
	if w.Retry != nil && res.cancels && res.gaveUp() {
		r.Cancels = cancelText(res.name)
	}
	return r
}

// abandon ends the recording: the unit is as if it had not been read, whatever is recorded later.
func (w *work) abandon() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sealed = true
}

// allOrNothing makes the targets of an event stand and fall together: on a first pass, when one gave up, what is unfinished is cancelled. A fallback
// takes the event once.
func (w *work) allOrNothing() {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := slices.IndexFunc(w.results, func(r result) bool { return r.gaveUp() })
	if first < 0 || !w.Whole() {
		for i := range w.results {
			w.results[i].cancels = true
		}
		return
	}
	cause := w.results[first]
	var kept []result
	for i, r := range w.results {
		switch {
		case i == first || r.state == "" || r.state == store.Dead:
			kept = append(kept, r)
		case !cause.fellBack:
			r.state, r.free, r.err = store.Dead, !r.holdKey, cancelText(cause.name)
			kept = append(kept, r)
		}
	}
	w.results = kept
}

// dead returns the results of targets that gave up.
func (w *work) dead() []result {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []result
	for _, r := range w.results {
		if r.state == store.Dead {
			list = append(list, r)
		}
	}
	return list
}

// deadline returns the deadline that a middleware of the application has put on the context of the unit's message.
func (w *work) deadline(msg *message.Message) (deadline time.Time, bounded bool) {
	if w.course == nil {
		return time.Time{}, false
	}
	if deadline, bounded = msg.Context().Deadline(); bounded {
		own, ok := w.ctx.Deadline() // that the forwarder was started with
		bounded = !ok || deadline.Before(own)
	}
	return deadline, bounded
}

// workContext carries a unit's work and outcome in one context, through the middlewares of an application.
type workContext struct {
	context.Context
	work *work
}

type workKey struct{}

// Value returns the work for its key, and its outcome for that of package delivery.
func (c workContext) Value(key any) any {
	switch key {
	case workKey{}:
		return c.work
	case delivery.ContextKey{}:
		return c.work.outcome
	}
	return c.Context.Value(key)
}

func workFrom(ctx context.Context) *work {
	w, _ := ctx.Value(workKey{}).(*work)
	return w
}

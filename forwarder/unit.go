package forwarder

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/delivery"
	"github.com/bento-outbox/watermill-outbox/internal/redact"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

// unit is what is worked on at once: an event on its first pass to all its targets, or one delivery of it that is tried again.
type unit struct {
	event   store.Event
	retry   *store.Delivery // nil on the first pass
	key     int64
	keyed   bool // whether it stands in the order of its key
	epoch   int64
	reader  *reader
	after   *unit              // held behind this one, which must be through first
	outcome *delivery.Delivery // what middlewares around the handler decided
	course  *course            // nil without a Router of the application
	repeat  bool               // it was handed out before, and nothing came of that which could be written down
	loaded  int64              // bytes of a payload that was fetched on its own
	scan    *scan              // that found it held
	passed  bool               // its scan comes by the next of the key, which need not be made due

	mu        sync.Mutex
	sealed    bool // nobody waits for results any more
	results   []result
	abandoned bool // not decided: read it again
	again     bool // of left
	left      bool // not tried: what it is held behind did not get through
}

// unitID names a unit among those in memory. The first pass has no target.
type unitID struct {
	seq    int64
	target string
}

func (u *unit) id() unitID {
	if u.retry != nil {
		return unitID{u.event.Seq, u.retry.Target}
	}
	return unitID{u.event.Seq, ""}
}

// tail is what the unit is in the order of.
func (u *unit) tail() heldID { return heldID{u.event.Slot, blockID{u.retry.Target, u.key}} }

// whole tells whether the unit is to go to all its targets: on its first pass, or when that failed because it could not be routed.
func (u *unit) whole() bool { return u.retry == nil || u.retry.Target == store.Unrouted }

// attempts returns how often the unit was tried before.
func (u *unit) attempts() int {
	if !u.whole() {
		return u.retry.Attempts
	}
	return 0
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
	together bool // the targets of the event stand and fall together
}

func (u *unit) sent(t target) { u.record(result{target: t}) }

func (u *unit) record(r result) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.sealed {
		u.results = append(u.results, r)
	}
}

// decided tells whether anything was recorded.
func (u *unit) decided() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.abandoned || u.left || len(u.results) > 0
}

// gaveUp tells whether the target will not get the event any more.
func (res *result) gaveUp() bool { return res.state == store.Dead || res.fellBack }

// together applies all_or_nothing to a first pass: when one target gave up, what is unfinished is cancelled. A fallback takes the event
// once.
func (u *unit) together() {
	u.mu.Lock()
	defer u.mu.Unlock()
	first := slices.IndexFunc(u.results, func(r result) bool { return r.gaveUp() })
	if first < 0 || !u.whole() {
		for i := range u.results {
			u.results[i].together = true
		}
		return
	}
	cause, kept := u.results[first], u.results[:0]
	for i, r := range u.results {
		switch {
		case i == first || r.state == "" || r.state == store.Dead:
			kept = append(kept, r)
		case !cause.fellBack:
			r.state, r.free, r.err = store.Dead, !r.holdKey, cancelText(cause.name)
			kept = append(kept, r)
		}
	}
	u.results = kept
}

func cancelText(target string) string {
	return storable("cancelled, for target "+target+" gave up", maxErrorText)
}

// dead returns the results of targets that gave up.
func (u *unit) dead() []result {
	u.mu.Lock()
	defer u.mu.Unlock()
	var list []result
	for _, r := range u.results {
		if r.state == store.Dead {
			list = append(list, r)
		}
	}
	return list
}

// delivered tells whether nothing is left to do for any target. The unit is sealed.
func (u *unit) delivered() bool {
	return !slices.ContainsFunc(u.results, func(r result) bool { return r.state != "" })
}

// seal ends the recording. A unit none of whose targets was tried is abandoned.
func (u *unit) seal() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sealed = true
	if u.left {
		return
	}
	for i := range u.results {
		if !u.results[i].untried {
			return
		}
	}
	u.abandoned = true
}

// held says that an earlier event of the key is not through to t.
func (u *unit) held(t target) {
	u.record(result{target: t, state: store.Held})
}

// park says that t is closed for now. The delivery is held without an attempt.
func (u *unit) park(t target, reason string) {
	if u.retry != nil && u.retry.State == store.Held {
		u.leave(true)
		return
	}
	u.record(result{target: t, state: store.Held, attempts: u.attempts(), err: reason, parked: true})
}

// postponed tries the delivery again without an attempt, after as long as the policy waits the nth time, or as the destination asks.
func (u *unit) postponed(t target, err error, n int) {
	wait, _ := t.policy.Next(min(n, t.policy.MaxAttempts-1))
	wait = min(max(wait, minPostponed<<min(n-1, 16)), maxPostponed)
	u.record(result{target: t, state: store.Waiting, attempts: u.attempts(), wait: max(wait, retryAfter(err)), err: errorText(err)})
}

// The wait of a delivery that is postponed. The least keeps a broken connection from being tried in a busy loop before its breaker opens.
const (
	minPostponed = 20 * time.Millisecond
	maxPostponed = 30 * time.Second
)

// skipped says that t does not want the event any more, or that nobody does when t is the zero target.
func (u *unit) skipped(t target, reason string) {
	u.record(result{target: t, state: store.Skipped, attempts: u.attempts(), err: reason, free: true})
}

// delayed puts the delivery off, outside order and without an attempt.
func (u *unit) delayed(t target, wait time.Duration) {
	u.record(result{target: t, state: store.Waiting, attempts: u.attempts(), wait: wait, free: true})
}

// failed counts an attempt, and gives up when the policy does or when err cannot be cured.
func (u *unit) failed(t target, err error) { u.record(u.failure(t, err)) }

func (u *unit) failure(t target, err error) result {
	r := result{target: t, attempts: u.attempts() + 1, err: errorText(err)}
	wait, again := t.policy.Next(r.attempts)
	if !again || middleware.IsPermanent(err) {
		r.state, r.free = store.Dead, !t.holdKey
	} else {
		r.state, r.wait = store.Waiting, max(wait, retryAfter(err))
	}
	return r
}

// passedBy says that a middleware has acked the unit and that the handler was not called, on a pass on which that decides nothing.
func (u *unit) passedBy(t target) {
	wait, _ := t.policy.Next(0)
	wait = max(wait, minPassedBy, min(time.Since(u.event.CreatedAt)/2, maxPassedBy))
	r := result{target: t, state: store.Waiting, attempts: u.attempts(), wait: wait, err: errPassedBy.Error()}
	if u.retry != nil && u.retry.Error != "" {
		r.err = u.retry.Error
	}
	u.record(r)
}

// The back-off of passedBy grows with the age of the event, for nothing counts how often it happened.
const (
	minPassedBy = time.Second
	maxPassedBy = 5 * time.Minute
)

// undecided says that t was not tried. With other targets tried already it is written down as to be done; else the unit is abandoned.
func (u *unit) undecided(t target) {
	u.record(result{target: t, state: store.Waiting, attempts: u.attempts(), untried: true})
}

// through tells whether a sealed unit's delivery ended, or left the order of its key.
func (u *unit) through() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.abandoned && !u.left && !slices.ContainsFunc(u.results, func(r result) bool { return r.holds() })
}

// leave says that the delivery stays held, as it is. Again tells that it is not because another of its key failed, so that nothing else will
// make it go on.
func (u *unit) leave(again bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.sealed {
		u.left, u.again = true, again
	}
}

func (u *unit) leftToGoOn() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.left && u.again
}

// abandon says that nothing was decided: the unit is as if it had not been read.
func (u *unit) abandon() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.sealed {
		u.abandoned = true
	}
}

// mayPublish tells whether a publish may be started now, and returns the context that bounds it.
func (u *unit) mayPublish() (context.Context, bool) {
	now := u.reader.now()
	if !u.reader.mayPublish(u, now) {
		return nil, false
	}
	return u.reader.publishing.context(now.monotonic), true
}

// deadline returns the deadline that a middleware of the application has put on ctx, the context of the unit's message.
func (u *unit) deadline(ctx context.Context) (deadline time.Time, bounded bool) {
	if u.course == nil {
		return time.Time{}, false
	}
	if deadline, bounded = ctx.Deadline(); bounded {
		own, ok := u.reader.ctx.Deadline() // that the reader was started with
		bounded = !ok || deadline.Before(own)
	}
	return deadline, bounded
}

// heldBack tells whether an earlier event of the unit's key is not through to the named target.
func (u *unit) heldBack(target string) bool {
	return u.keyed && u.retry == nil && u.reader.heldBack(u.event.Slot, target, u.key)
}

// maxErrorText bounds what is kept of an error, in bytes.
const maxErrorText = 2000

// errorText returns the text of err as databases can store it, without what may be a secret of a URL: publishers of others may quote theirs.
func errorText(err error) string { return storable(redact.Text(err.Error()), maxErrorText) }

func storable(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}

// targetName returns the name that a target is stored under: the name itself, or its start and a hash when it is longer than an index takes.
func targetName(name string) string {
	if len(name) <= store.MaxTarget {
		return storable(name, store.MaxTarget)
	}
	return storable(name, store.MaxTarget-20) + "#" + strconv.FormatUint(uint64(store.KeyHash("", name)), 36)
}

// unitContext carries a unit and its outcome in one context.
type unitContext struct {
	context.Context
	unit *unit
}

type unitKey struct{}

// Value returns the unit for its key, and its outcome for that of package delivery.
func (c unitContext) Value(key any) any {
	switch key {
	case unitKey{}:
		return c.unit
	case delivery.ContextKey{}:
		return c.unit.outcome
	}
	return c.Context.Value(key)
}

func unitFrom(ctx context.Context) *unit {
	u, _ := ctx.Value(unitKey{}).(*unit)
	return u
}

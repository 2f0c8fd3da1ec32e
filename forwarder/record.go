package forwarder

import (
	"strconv"
	"strings"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/redact"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

func (w *work) sent(t target) { w.record(result{target: t}) }

// held says that an earlier event of the key is not through to t.
func (w *work) held(t target) { w.record(result{target: t, state: store.Held}) }

// park says that t takes nothing now. The delivery is held without an attempt; one that is held already stays so, as it is.
func (w *work) park(t target, reason string) {
	if w.Retry == nil || w.Retry.State != store.Held {
		w.record(result{target: t, state: store.Held, attempts: w.Attempts(), err: reason, parked: true})
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blocked = true
}

// postponed tries the delivery again without an attempt, after as long as the policy waits the nth time, or as the destination asks.
func (w *work) postponed(t target, err error, n int) {
	wait, _ := t.policy.Next(min(n, t.policy.MaxAttempts-1))
	wait = min(max(wait, minPostponed<<min(n-1, 16)), maxPostponed)
	w.record(result{target: t, state: store.Waiting, attempts: w.Attempts(), wait: max(wait, retryAfter(err)), err: errorText(err)})
}

// The wait of a delivery that is postponed. The least keeps a broken connection from being tried in a busy loop before its breaker opens.
const (
	minPostponed = 20 * time.Millisecond
	maxPostponed = 30 * time.Second
)

// skipped says that t does not want the event any more, or that nobody does when t is the zero target.
func (w *work) skipped(t target, reason string) {
	w.record(result{target: t, state: store.Skipped, attempts: w.Attempts(), err: reason, free: true})
}

// delayed puts the delivery off, outside order and without an attempt.
func (w *work) delayed(t target, wait time.Duration) {
	w.record(result{target: t, state: store.Waiting, attempts: w.Attempts(), wait: wait, free: true})
}

// failed counts an attempt, and gives up when the policy does or when err cannot be cured.
func (w *work) failed(t target, err error) { w.record(w.failure(t, err)) }

func (w *work) failure(t target, err error) result {
	r := result{target: t, attempts: w.Attempts() + 1, err: errorText(err)}
	wait, again := t.policy.Next(r.attempts)
	if !again || middleware.IsPermanent(err) {
		r.state, r.free = store.Dead, !t.holdKey
	} else {
		r.state, r.wait = store.Waiting, max(wait, retryAfter(err))
	}
	return r
}

// passedBy says that a middleware has acked the unit and that the handler was not called, on a pass on which that decides nothing.
func (w *work) passedBy(t target) {
	wait, _ := t.policy.Next(0)
	wait = max(wait, minPassedBy, min(time.Since(w.Event.CreatedAt)/2, maxPassedBy))
	r := result{target: t, state: store.Waiting, attempts: w.Attempts(), wait: wait, err: errPassedBy.Error()}
	if w.Retry != nil && w.Retry.Error != "" {
		r.err = w.Retry.Error
	}
	w.record(r)
}

// The back-off of passedBy grows with the age of the event, for nothing counts how often it happened.
const (
	minPassedBy = time.Second
	maxPassedBy = 5 * time.Minute
)

// undecided says that t was not tried. With other targets tried already it is written as to be done; else the unit is as if it had not been read.
func (w *work) undecided(t target) {
	w.record(result{target: t, state: store.Waiting, attempts: w.Attempts(), untried: true})
}

// maxErrorText bounds what is kept of an error, in bytes.
const maxErrorText = 2000

// errorText returns the text of err as databases can store it, without what may be a secret of a URL: publishers of others may quote theirs.
func errorText(err error) string { return storable(redact.Text(err.Error()), maxErrorText) }

func cancelText(target string) string {
	return storable("cancelled, for target "+target+" gave up", maxErrorText)
}

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

package forwarder

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// breaker is the circuit breaker of a publisher or a topic. While it is calm, all that came through was a success, and nobody has to ask the circuit,
// which has a lock: every publish comes by here.
type breaker struct {
	scope     string // a publisher, as kafka://, or a destination
	forgotten atomic.Bool
	calm      atomic.Bool
	passed    atomic.Bool  // something got through, and nothing has opened it since
	changes   atomic.Int64 // of its state
	probed    int64        // when last, in nanoseconds; guarded by the gate's mutex
	noted     bool         // as open; the forwarder's own

	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]

	rest atomic.Int64 // until when the destination asked to be left alone, in nanoseconds

	mu    sync.Mutex
	cause error     // the last failure
	at    time.Time // of it
}

func (p *publisherGate) newBreaker(scope string) *breaker {
	b := &breaker{scope: scope, at: time.Now()}
	b.calm.Store(true)
	b.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: 1, Timeout: p.gates.probe,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= p.failures },
		IsExcluded:  func(err error) bool { return errors.Is(err, errNotSent) },
		OnStateChange: func(_ string, from, to gobreaker.State) { // called with the breaker locked: nobody has seen the new state yet
			b.changes.Add(1)
			if to == gobreaker.StateOpen {
				b.calm.Store(false)
				b.passed.Store(false)
			}
			if from == gobreaker.StateClosed || to == gobreaker.StateClosed { // a probe that fails is no news
				p.moves.Add(1)
				go p.changed(b)
			}
		},
	})
	return b
}

// ticket is the permission of a breaker to send a message.
type ticket struct {
	b       *breaker
	changes int64       // when it was given
	report  func(error) // nil when the breaker was calm
}

// enter returns a ticket to send a message, if there is any. Done of the ticket must be called.
func (b *breaker) enter() (ticket, bool) {
	t := ticket{b: b, changes: b.changes.Load()}
	if b.calm.Load() {
		return t, true
	}
	report, err := b.circuit.Allow()
	if err != nil {
		return ticket{}, false
	}
	if b.resting() && b.circuit.State() == gobreaker.StateHalfOpen {
		report(errNotSent)
		return ticket{}, false
	}
	t.report = report
	return t, true
}

// done reports what came of the message: nil, errNotSent, or a failure, which the breaker has been blamed for before.
func (t ticket) done(err error) {
	b := t.b
	switch {
	case b == nil:
	case t.report != nil:
		if t.report(err); err == nil && !b.tripped() {
			b.passed.Store(true)
			b.calm.Store(true)
		}
	case err == nil:
		if !b.passed.Load() {
			b.passed.Store(true)
		}
	case !errors.Is(err, errNotSent) && b.changes.Load() == t.changes: // else it was sent to what was another destination, as it were
		if report, closed := b.circuit.Allow(); closed == nil {
			report(err)
		}
	}
}

// blocked reports whether nothing is let through, not even a probe.
func (b *breaker) blocked() bool {
	switch b.circuit.State() {
	case gobreaker.StateOpen:
		return true
	case gobreaker.StateHalfOpen:
		return b.resting()
	}
	return false
}

// tripped reports whether nothing but a probe is let through: the circuit is open or half open.
func (b *breaker) tripped() bool { return b.circuit.State() != gobreaker.StateClosed }

// proven reports whether a message got through and nothing has opened the breaker since.
func (b *breaker) proven() bool { return b.passed.Load() && !b.tripped() }

// blame remembers a failure, before it is reported.
func (b *breaker) blame(err error) {
	b.calm.Store(false)
	now := time.Now()
	if after := retryAfter(err); after > 0 {
		b.rest.Store(now.Add(after).UnixNano())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cause, b.at = err, now
}

// resting reports whether the destination asked to be left alone.
func (b *breaker) resting() bool {
	rest := b.rest.Load()
	return rest > 0 && time.Now().UnixNano() < rest
}

// heard returns until when a failure says something.
func (b *breaker) heard() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if rest := time.Unix(0, b.rest.Load()); rest.After(b.at) {
		return rest
	}
	return b.at
}

// lastFailure returns the error that was reported last.
func (b *breaker) lastFailure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cause
}

// MaxRetryAfter is the longest wait that a destination can ask for, in a Retry-After header for instance; longer ones are taken as this.
const MaxRetryAfter = time.Hour

// retryAfter is how long the destination asks to be left alone, by a method RetryAfter() time.Duration of err.
func retryAfter(err error) time.Duration {
	var asked interface{ RetryAfter() time.Duration }
	if !errors.As(err, &asked) {
		return 0
	}
	return max(0, min(asked.RetryAfter(), MaxRetryAfter))
}

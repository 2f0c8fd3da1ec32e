package forwarder

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// breaker is the circuit breaker of a publisher or a topic.
type breaker struct {
	scope     string // a publisher, as kafka://, or a destination
	forgotten atomic.Bool
	probed    int64 // when last, in nanoseconds; guarded by the gate's mutex
	noted     bool  // as open; the forwarder's own

	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]

	rest atomic.Int64 // until when the destination asked to be left alone, in nanoseconds

	mu    sync.Mutex
	cause error     // the last failure
	at    time.Time // of it
}

func (p *publisherGate) newBreaker(scope string) *breaker {
	b := &breaker{scope: scope, at: time.Now()}
	b.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: 1, Timeout: p.gates.probe,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= p.failures },
		IsExcluded:  func(err error) bool { return errors.Is(err, errNotSent) },
		OnStateChange: func(_ string, from, to gobreaker.State) { // called with the breaker locked: nobody has seen the new state yet
			if from == gobreaker.StateClosed || to == gobreaker.StateClosed { // a probe that fails is no news
				p.moves.Add(1)
				go p.changed(b)
			}
		},
	})
	return b
}

// enter returns the function to report with when a message may be sent, else nil.
func (b *breaker) enter() (report func(error)) {
	report, err := b.circuit.Allow()
	if err != nil {
		return nil
	}
	if b.resting(time.Now()) && b.circuit.State() == gobreaker.StateHalfOpen {
		report(errNotSent)
		return nil
	}
	return report
}

// open reports whether nothing is let through, not even a probe.
func (b *breaker) open() bool {
	switch b.circuit.State() {
	case gobreaker.StateOpen:
		return true
	case gobreaker.StateHalfOpen:
		return b.resting(time.Now())
	}
	return false
}

// shut reports whether nothing but a probe is let through.
func (b *breaker) shut() bool { return b.circuit.State() != gobreaker.StateClosed }

// proven reports whether a message got through and nothing has opened the breaker since.
func (b *breaker) proven() bool { return !b.shut() && b.circuit.Counts().TotalSuccesses > 0 }

// blame remembers a failure, before it is reported.
func (b *breaker) blame(err error) {
	now := time.Now()
	if after := retryAfter(err); after > 0 {
		b.rest.Store(now.Add(after).UnixNano())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cause, b.at = err, now
}

// resting reports whether the destination asked to be left alone.
func (b *breaker) resting(now time.Time) bool {
	rest := b.rest.Load()
	return rest > 0 && now.UnixNano() < rest
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

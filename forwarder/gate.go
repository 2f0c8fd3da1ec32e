package forwarder

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/bento-outbox/watermill-outbox/schema"
)

// gates say where nothing is delivered to for now: destinations that cannot be reached, by a circuit breaker each, and what operators have
// paused. Deliveries to what is closed are held without an attempt, and go on in their order when it opens.
type gates struct {
	probe    time.Duration
	failures uint32
	standard string                                           // the publisher of destinations that name none
	changed  func(destination string, open bool, cause error) // called without a lock held

	mu       sync.Mutex
	breakers map[string]*breaker
	paused   map[pause]bool
	moves    int64 // counts changes of what is paused
}

type pause struct {
	kind schema.ControlKind
	name string
}

type breaker struct {
	*gobreaker.TwoStepCircuitBreaker[struct{}]
	moves atomic.Int64 // counts how often it closed and ceased to be closed
	mu    sync.Mutex
	cause error // the last failure
}

func newGates(failures int, probe time.Duration, standard string, changed func(destination string, open bool, cause error)) *gates {
	return &gates{probe: probe, failures: uint32(failures), standard: standard, changed: changed, breakers: map[string]*breaker{}, paused: map[pause]bool{}}
}

// closed tells whether u would not be published to a destination now, not even as a probe.
func (g *gates) closed(u *unit, destination string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.isPaused(u, destination) {
		return true
	}
	b := g.breakers[destination]
	return b != nil && b.State() == gobreaker.StateOpen
}

// shut tells whether what is held for a destination must stay so, but for a probe, and counts how often that has changed.
func (g *gates) shut(u *unit, destination string) (shut bool, moves int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	shut, moves = g.isPaused(u, destination), g.moves
	if b := g.breakers[destination]; b != nil {
		shut = b.State() != gobreaker.StateClosed || shut
		moves += b.moves.Load()
	}
	return shut, moves
}

func (g *gates) isPaused(u *unit, destination string) bool {
	if len(g.paused) == 0 {
		return false
	}
	publisher, _, named := strings.Cut(destination, "://")
	if !named {
		publisher = g.standard
	}
	return g.paused[pause{schema.PausedDestination, destination}] || g.paused[pause{schema.PausedDestination, publisher + "://"}] ||
		g.paused[pause{schema.PausedTenant, u.event.TenantID}] || g.paused[pause{schema.PausedKey, u.event.Key()}]
}

// enter tells whether u may be published to a destination now. Done must be called with what came of it; it tells whether the failure is the
// destination's, not the message's.
func (g *gates) enter(u *unit, destination string) (done func(error) (unreachable bool), ok bool) {
	g.mu.Lock()
	if g.isPaused(u, destination) {
		g.mu.Unlock()
		return nil, false
	}
	b := g.breakers[destination]
	if b == nil {
		b = g.newBreaker(destination)
		g.breakers[destination] = b
	}
	g.mu.Unlock()
	report, err := b.Allow()
	if err != nil {
		return nil, false
	}
	return func(err error) bool {
		down, silent := reachability(err)
		if !down && !silent {
			report(nil)
			return false
		}
		b.mu.Lock()
		b.cause = err
		b.mu.Unlock()
		report(err)
		return down || b.State() != gobreaker.StateClosed
	}, true
}

func (g *gates) newBreaker(destination string) *breaker {
	b := &breaker{}
	b.TwoStepCircuitBreaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: 1, Timeout: g.probe,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= g.failures },
		OnStateChange: func(_ string, from, to gobreaker.State) { // called with the breaker locked: nobody has seen the new state yet
			if from == gobreaker.StateClosed || to == gobreaker.StateClosed { // a probe that fails is no news
				b.moves.Add(1)
				b.mu.Lock()
				cause := b.cause
				b.mu.Unlock()
				go g.changed(destination, to == gobreaker.StateOpen, cause)
			}
		},
	})
	return b
}

// unreachable returns the destinations whose breaker is not closed.
func (g *gates) unreachable() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []string
	for name, b := range g.breakers {
		if b.State() != gobreaker.StateClosed {
			list = append(list, name)
		}
	}
	return list
}

// proven tells whether a destination has been reached and its breaker is closed.
func (g *gates) proven(destination string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.breakers[destination]
	return b != nil && b.State() == gobreaker.StateClosed && b.Counts().TotalSuccesses > 0
}

// pause takes what operators have paused now and tells whether anything was resumed.
func (g *gates) pause(controls []schema.Control) (resumed bool) {
	now := map[pause]bool{}
	for _, c := range controls {
		if c.Kind != schema.Unreachable {
			now[pause{c.Kind, c.Name}] = true
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for p := range g.paused {
		resumed = resumed || !now[p]
	}
	if !maps.Equal(g.paused, now) {
		g.moves++
	}
	g.paused = now
	return resumed
}

// reachability tells what err says of the destination: that it is down, for the connection was refused or broken or its certificate is none to
// trust, or that it was silent, which may be the message's fault. Errors may say it themselves, by methods Unavailable() bool and Timeout() bool.
func reachability(err error) (down, silent bool) {
	if err == nil {
		return false, false
	}
	var unavailable interface{ Unavailable() bool }
	if errors.As(err, &unavailable) && unavailable.Unavailable() {
		return true, false
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return false, true
	}
	var operation *net.OpError
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError // one that has expired, for instance
	down = errors.As(err, &operation) || errors.As(err, &name) || errors.As(err, &certificate) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	return down, false
}

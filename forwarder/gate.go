package forwarder

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/engine"
	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// gates say where nothing is delivered to for now: publishers and topics that take nothing, by circuit breakers, and what operators have paused.
// Deliveries to what is blocked are held without an attempt, and go on in their order when it opens.
//
// Breakers belong to what can be down. That is the publisher, which always has one. A topic has one while its deliveries fail and those of other
// topics get through, or its publisher says that its topics fail alone; it is forgotten when one gets through. So there are few, whatever
// destinations events make up.
type gates struct {
	probe      time.Duration
	standard   string                    // the publisher of destinations that name none
	publishers map[string]*publisherGate // by name; does not change
	strikes    strikes

	resumed func() // called when something that was paused goes on

	mu     sync.Mutex // of those who change paused
	paused atomic.Pointer[map[pause]bool]
	moves  atomic.Int64 // counts changes of what is paused
	noted  atomic.Pointer[map[string]*atomic.Bool]
}

type pause struct {
	kind store.ControlKind
	name string
}

// newGates returns gates for pubs, which get theirs. Changed is called by a goroutine of its own when a breaker opened, closed or was forgotten.
func newGates(failures int, probe time.Duration, pubs publishers, changed func(*breaker)) *gates {
	g := &gates{probe: probe, standard: pubs.standard, publishers: map[string]*publisherGate{}, resumed: func() {}}
	g.strikes.limit = failures
	for name, p := range pubs.byName {
		gate := &publisherGate{gates: g, scope: name + "://", failures: uint32(failures), changed: changed, topics: map[string]*breaker{}}
		if topics, ok := p.Publisher.(interface{ TopicsFailAlone() bool }); !ok || !topics.TopicsFailAlone() {
			gate.whole = gate.newBreaker(gate.scope)
		}
		g.publishers[name], p.gate = gate, gate
	}
	return g
}

// of returns the gate of a destination's publisher, nil when it names none.
func (g *gates) of(destination string) *publisherGate {
	name, _, named := strings.Cut(destination, "://")
	if !named {
		name = g.standard
	}
	return g.publishers[name]
}

// Blocked implements [engine.Gates].
func (g *gates) Blocked(e *store.Event, destination string) bool {
	if g.isPaused(e, destination) {
		return true
	}
	p := g.of(destination)
	return p != nil && p.blocked(destination)
}

// Tripped implements [engine.Gates].
func (g *gates) Tripped(e *store.Event, destination string) (tripped bool, gate string, moves int64) {
	moves = g.moves.Load()
	if p := g.of(destination); p != nil {
		gate = p.scope
		moves += p.moves.Load()
		tripped = p.tripped(destination)
	}
	return tripped || g.isPaused(e, destination), gate, moves
}

// Scope implements [engine.Gates]: it is the destination's publisher, unless one of its topics fails alone.
func (g *gates) Scope(destination string) engine.Scope {
	if p := g.of(destination); p != nil && p.failing.Load() == 0 {
		return g.scopeOf(p.scope)
	}
	return engine.Scope{Name: destination}
}

// scopeOf names what is held for one destination, or for all of a publisher: those that name none are among the standard publisher's.
func (g *gates) scopeOf(name string) engine.Scope {
	publisher, whole := strings.CutSuffix(name, "://")
	return engine.Scope{Name: name, Bare: whole && publisher == g.standard}
}

func (g *gates) isPaused(e *store.Event, destination string) bool {
	paused := g.paused.Load()
	if paused == nil {
		return false
	}
	destination = targetName(destination)
	publisher, _, named := strings.Cut(destination, "://")
	if !named {
		publisher = g.standard
	}
	is := func(kind store.ControlKind, name string) bool { return (*paused)[pause{kind, name}] }
	return is(store.PausedDestination, destination) || is(store.PausedDestination, publisher+"://") ||
		is(store.PausedTenant, e.TenantID) || is(store.PausedKey, e.Key())
}

// pause takes what operators have paused now, and what forwarders noted, and reports whether anything was resumed.
func (g *gates) pause(controls []store.Control) (resumed bool) {
	now, noted := map[pause]bool{}, map[string]*atomic.Bool{}
	g.mu.Lock()
	defer g.mu.Unlock()
	before := g.noted.Load()
	for _, c := range controls {
		switch {
		case c.Kind != store.Unreachable:
			now[pause{c.Kind, c.Name}] = true
		case !strings.HasSuffix(c.Name, "://"):
			noted[c.Name] = new(atomic.Bool)
			if before != nil && (*before)[c.Name] != nil {
				noted[c.Name] = (*before)[c.Name]
			}
		}
	}
	if g.noted.Store(&noted); len(noted) == 0 {
		g.noted.Store(nil)
	}
	var was map[pause]bool
	if p := g.paused.Load(); p != nil {
		was = *p
	}
	for p := range was {
		resumed = resumed || !now[p]
	}
	if maps.Equal(was, now) {
		return false
	}
	g.moves.Add(1)
	if g.paused.Store(&now); len(now) == 0 {
		g.paused.Store(nil)
	}
	return resumed
}

// proven reports whether something that a forwarder noted as unreachable, maybe one that is gone, has been reached.
func (g *gates) proven(name string) bool {
	p := g.of(name)
	if p == nil {
		return false
	}
	if name == p.scope {
		return p.whole != nil && p.whole.proven()
	}
	noted := g.noted.Load()
	return noted != nil && (*noted)[name] != nil && (*noted)[name].Load() && p.topic(name) == nil
}

// reached takes note of a success at a destination that was noted as unreachable.
func (g *gates) reached(destination string) {
	if noted := g.noted.Load(); noted != nil {
		if seen := (*noted)[targetName(destination)]; seen != nil {
			seen.Store(true)
		}
	}
}

// Probes implements [engine.Gates].
func (g *gates) Probes() (list []engine.Scope) {
	for _, p := range g.publishers {
		for _, name := range p.probes(time.Now()) {
			list = append(list, g.scopeOf(name))
		}
	}
	return list
}

// Control implements [engine.Gates]. A note that a forwarder left behind is outdated when what it is about has been reached.
func (g *gates) Control(controls []store.Control) (resumed bool, outdated []store.Control) {
	if resumed = g.pause(controls); resumed {
		g.resumed()
	}
	for _, c := range controls {
		if c.Kind == store.Unreachable && g.proven(c.Name) {
			outdated = append(outdated, c)
		}
	}
	return resumed, outdated
}

// publisher is a publisher of a forwarder, and the gate in front of it.
type publisher struct {
	message.Publisher
	gate *publisherGate
}

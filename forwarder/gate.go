package forwarder

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// gates say where nothing is delivered to for now: publishers and topics that take nothing, by circuit breakers, and what operators have paused.
// Deliveries to what is closed are held without an attempt, and go on in their order when it opens.
//
// Breakers belong to what can be down. That is the publisher, which always has one. A topic has one while its deliveries fail and those of other
// topics get through, or its publisher says that its topics fail alone; it is forgotten when one gets through. So there are few, whatever
// destinations events make up.
type gates struct {
	probe      time.Duration
	standard   string                    // the publisher of destinations that name none
	publishers map[string]*publisherGate // by name; does not change
	strikes    strikes

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
	g := &gates{probe: probe, standard: pubs.standard, publishers: map[string]*publisherGate{}}
	g.strikes.limit = failures
	for name, p := range pubs.byName {
		gate := &publisherGate{gates: g, scope: name + "://", failures: uint32(failures), changed: changed, topics: map[string]*breaker{}}
		var alone interface{ TopicsFailAlone() bool }
		if alone, _ = p.Publisher.(interface{ TopicsFailAlone() bool }); alone == nil || !alone.TopicsFailAlone() {
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

// closed reports whether publishing u to a destination is blocked, even for a probe.
func (g *gates) closed(u *unit, destination string) bool {
	if g.isPaused(u, destination) {
		return true
	}
	p := g.of(destination)
	return p != nil && p.open(destination)
}

// shut reports whether what is held for a destination must stay so, but for a probe, and counts how often that has changed for its publisher.
func (g *gates) shut(u *unit, destination string) (shut bool, moves int64) {
	moves = g.moves.Load()
	if p := g.of(destination); p != nil {
		moves += p.moves.Load()
		shut = p.shut(destination)
	}
	return shut || g.isPaused(u, destination), moves
}

// scope returns what to look through for deliveries to a destination that are free to go on: those of its publisher.
func (g *gates) scope(destination string) heldScope {
	if p := g.of(destination); p != nil && p.failing.Load() == 0 {
		return g.heldScope(p.scope)
	}
	return heldScope{name: destination}
}

// heldScope names what is held for one destination, or for all of a publisher: those that name none are among the standard publisher's.
func (g *gates) heldScope(name string) heldScope {
	publisher, whole := strings.CutSuffix(name, "://")
	return heldScope{name: name, bare: whole && publisher == g.standard}
}

type heldScope struct {
	name string // empty: everything
	bare bool
}

func (g *gates) isPaused(u *unit, destination string) bool {
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
		is(store.PausedTenant, u.event.TenantID) || is(store.PausedKey, u.event.Key())
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

// probes returns what is out of reach and should be probed now.
func (g *gates) probes() (list []heldScope) {
	for _, p := range g.publishers {
		for _, name := range p.probes(time.Now()) {
			list = append(list, g.heldScope(name))
		}
	}
	return list
}

// publisher is a publisher of a forwarder, and the gate in front of it.
type publisher struct {
	message.Publisher
	gate *publisherGate
}

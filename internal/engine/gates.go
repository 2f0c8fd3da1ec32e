package engine

import (
	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// Gates say what takes nothing for now: destinations that are out of reach, and what operators have paused. Deliveries to it are held as parked
// rows; [Engine.Opened] makes them go on.
type Gates interface {
	// Blocked reports whether nothing of an event may go to a destination now, not even a probe.
	Blocked(e *store.Event, destination string) bool
	// Tripped reports whether nothing but a probe may go there. Gate names what was asked, and moves counts how often its answer has changed.
	Tripped(e *store.Event, destination string) (tripped bool, gate string, moves int64)
	// Scope returns what to look through for deliveries to a destination that are free to go on.
	Scope(destination string) Scope
	// Probes returns what is out of reach and should be probed now. It is asked every [Config.ProbeInterval].
	Probes() []Scope
	// Control takes over what operators have paused now and what forwarders noted as unreachable. It reports whether anything was resumed, and
	// returns the notes that are out of date.
	Control(controls []store.Control) (resumed bool, outdated []store.Control)
}

// Scope names what is held for one destination, or for all of a publisher.
type Scope struct {
	Name string // a destination, or a publisher and ://; empty: everything
	Bare bool   // of a publisher: destinations that name none are among its own
}

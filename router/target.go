package router

import (
	"fmt"
	"time"

	"github.com/bento-outbox/watermill-outbox/middleware"
)

// Decision is what one target does with one event.
type Decision struct {
	Deliver bool
	Reason  Reason
	Due     time.Time // deliver not before; zero means at once
	Payload []byte    // what the destination gets; shares memory with the event's when it is the same
}

// Decide tells whether t wants e, when, and with which payload: it matches, samples, delays, transforms, in this order.
//
// The same event always gets the same answer. Decide does not modify e and is safe for concurrent use. The error says that e
// cannot be planned; it is permanent, see [middleware.IsPermanent].
func (t *Target) Decide(e *Event) (Decision, error) {
	if t.matcher == nil && t.sampler == nil && t.transform == nil {
		return t.decide(e, nil)
	}
	seen := e.seen()
	return t.decide(e, &seen)
}

// decide is Decide, of an event that middlewares see as seen.
func (t *Target) decide(e *Event, seen *middleware.Event) (Decision, error) {
	if t.fallback {
		return Decision{Deliver: true, Reason: Fallback, Payload: e.Payload}, nil
	}
	d := Decision{Deliver: true, Reason: Matched, Payload: e.Payload}
	if t.matcher != nil {
		if met, err := t.matcher.Match(seen); err != nil {
			return Decision{}, fmt.Errorf("target %q: %w", t.Name, err)
		} else if !met {
			return Decision{Reason: Condition}, nil
		}
	}
	if t.sampler != nil {
		if hit, err := t.sampler.Hit(seen); err != nil {
			return Decision{}, fmt.Errorf("target %q: %w", t.Name, err)
		} else if !hit {
			return Decision{Reason: Sampling}, nil
		}
	}
	if t.Delay > 0 && !e.CreatedAt.IsZero() {
		d.Due = e.CreatedAt.Add(t.Delay)
	}
	if t.transform != nil {
		var err error
		if d.Payload, err = t.transform.Apply(seen); err != nil {
			return Decision{}, fmt.Errorf("target %q: %w", t.Name, err)
		}
	}
	return d, nil
}

// failing returns the condition that e does not meet.
func (t *Target) failing(e *Event) string {
	if t.matcher == nil {
		return ""
	}
	seen := e.seen()
	text, _ := t.matcher.Failing(&seen)
	return text
}

// seen is e as the middlewares see it.
func (e *Event) seen() middleware.Event {
	return middleware.Event{
		ID: e.ID, Topic: e.Topic, TenantID: e.TenantID, AggregateType: e.AggregateType, AggregateID: e.AggregateID,
		SchemaID: e.SchemaID, SchemaVersion: e.SchemaVersion, OccurredAt: e.OccurredAt, CreatedAt: e.CreatedAt,
		Payload: e.Payload, Metadata: e.Metadata,
	}
}

package router

import (
	"fmt"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/rules"
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
	s := e.open()
	defer s.Close()
	return t.decide(e, s)
}

// decide is Decide with the subject of e, which may be nil when t does not look into it.
func (t *Target) decide(e *Event, s *rules.Subject) (Decision, error) {
	if t.fallback {
		return Decision{Deliver: true, Reason: Fallback, Payload: e.Payload}, nil
	}
	d := Decision{Deliver: true, Reason: Matched, Payload: e.Payload}
	if t.matcher != nil {
		if met, err := t.matcher.Match(s); err != nil {
			return Decision{}, fmt.Errorf("target %q: %w", t.Name, err)
		} else if !met {
			return Decision{Reason: Condition}, nil
		}
	}
	if t.sampler != nil {
		if hit, err := t.sampler.Hit(s); err != nil {
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
		if d.Payload, err = t.transform.Apply(s); err != nil {
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
	s := e.open()
	defer s.Close()
	text, _ := t.matcher.Failing(s)
	return text
}

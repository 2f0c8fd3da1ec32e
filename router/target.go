package router

import (
	"fmt"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/rules"
)

// Decision is what a target does with an event.
type Decision struct {
	Deliver bool
	Reason  Reason
	Due     time.Time // earliest delivery; zero means at once
	Payload []byte    // for the destination; shares the event's memory when it is unchanged
}

// Decide returns whether t receives e, when, and with which payload.
//
// The same event always gets the same decision. Decide does not modify e and is safe for concurrent use. The error is permanent, see
// [middleware.IsPermanent]: t cannot handle e.
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

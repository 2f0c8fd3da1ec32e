package router

import (
	"errors"
	"fmt"

	"github.com/bento-outbox/watermill-outbox/internal/rules"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

// Step is what the first pass of an event does for one target.
type Step struct {
	Target *Target
	Decision
	// Err is why the target gives up at once. It is permanent.
	Err error
	// Cause is why a fallback receives the event: the error of a target, or [NoTargetMatched].
	Cause string
}

// Destinations knows where events can be delivered.
type Destinations interface {
	// Check returns an error when nothing can be delivered to destination, judging by its name alone.
	Check(destination string) error
}

// NoTargetMatched is the cause of a fallback that receives an event because no target matched.
const NoTargetMatched = "no target matched"

var errOtherTarget = errors.New("not sent, for another target of the event cannot be")

// First appends to steps what the first pass of e does, and returns them: a step for each target, in order, then one for each time that the
// fallback receives the event.
//
// The fallback receives the event when no target matches, and once for each target with an error, in its name, unless that target has the
// destination of the fallback. A sampling miss is a match. With [AllOrNothing], an error of one target stops all deliveries, those of
// the fallback included.
//
// The same event always gets the same steps. First does not modify e and is safe for concurrent use. A nil known accepts any destination.
func (p *Plan) First(e *Event, known Destinations, steps []Step) []Step {
	if !p.looks {
		return p.first(e, nil, known, steps)
	}
	s := e.open()
	defer s.Close()
	return p.first(e, s, known, steps)
}

// first is First with the subject of e, which may be nil when no target looks into it.
func (p *Plan) first(e *Event, subject *rules.Subject, known Destinations, steps []Step) []Step {
	begin, matched, bad := len(steps), false, error(nil)
	for _, t := range p.Targets {
		steps = append(steps, Step{Target: t})
		s := &steps[len(steps)-1]
		s.Decision, s.Err = t.decide(e, subject)
		if s.Err == nil && s.Deliver && known != nil {
			if s.Err = known.Check(t.Destination); s.Err != nil {
				s.Decision = Decision{}
			}
		}
		matched = matched || s.Err != nil || s.Deliver || s.Reason == Sampling
		if bad == nil {
			bad = s.Err
		}
	}
	switch {
	case !matched && p.Fallback != nil:
		steps = append(steps, p.standIn(p.Fallback.Name, e, known, NoTargetMatched))
	case bad == nil:
	case p.Strategy == AllOrNothing:
		err := middleware.Permanent(fmt.Errorf("%w: %s", errOtherTarget, bad.Error()))
		for i := range steps[begin:] {
			if s := &steps[begin+i]; s.Deliver {
				s.Decision, s.Err = Decision{}, err
			}
		}
	case p.Fallback != nil:
		for _, s := range steps[begin:] {
			if s.Err != nil && p.FallsBack(s.Target.Destination) {
				steps = append(steps, p.standIn(s.Target.Name, e, known, s.Err.Error()))
			}
		}
	}
	return steps
}

// FallsBack reports whether a delivery to destination that gives up continues at the fallback.
func (p *Plan) FallsBack(destination string) bool {
	return p.Fallback != nil && destination != p.Fallback.Destination
}

// standIn returns the step of the fallback in the name of a target.
func (p *Plan) standIn(name string, e *Event, known Destinations, cause string) Step {
	t := *p.Fallback
	t.Name = name
	s := Step{Target: &t, Cause: cause, Decision: Decision{Deliver: true, Reason: Fallback, Payload: e.Payload}}
	if known != nil {
		if s.Err = known.Check(t.Destination); s.Err != nil {
			s.Decision = Decision{}
		}
	}
	return s
}

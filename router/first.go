package router

import (
	"errors"
	"fmt"

	"github.com/bento-outbox/watermill-outbox/internal/rules"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

// Step is what the first pass of an event does at one target.
type Step struct {
	Target *Target
	Decision
	// Err says why the target cannot be planned: it gives up at once. The error is permanent.
	Err error
	// Cause is why a fallback takes the event: for a target that cannot be planned, or because no target matched.
	Cause string
}

// Destinations knows where deliveries can go.
type Destinations interface {
	// Check reports why nothing can be delivered to destination, by its name alone.
	Check(destination string) error
}

// NoTargetMatched is the cause of a fallback that takes an event because no target matched.
const NoTargetMatched = "no target matched"

var errOtherTarget = errors.New("not sent, for another target of the event cannot be")

// First returns what the first pass of e does: a step for each target, in their order, and behind them one for each time that the fallback takes
// the event. It appends them to steps. The same event always gets the same answer.
//
// The fallback takes the event when no target matched, and once for each target that cannot be planned, in its name, unless that has the
// fallback's destination itself. A sampling miss is a match. When the strategy is [AllOrNothing] and a target cannot be planned, none is
// delivered, and the fallback takes nothing.
//
// First does not modify e and is safe for concurrent use. known may be nil: then any destination will do.
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

// FallsBack reports whether a delivery to destination that gave up goes on to the fallback.
func (p *Plan) FallsBack(destination string) bool {
	return p.Fallback != nil && destination != p.Fallback.Destination
}

// standIn is the step of the fallback, in the name of what it stands in for.
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

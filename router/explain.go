package router

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Explanation is where an event goes and why.
type Explanation struct {
	ID         string     `json:"id"`
	Strategy   Strategy   `json:"strategy"`
	Deliveries []Delivery `json:"deliveries"`
	// Route is the static route of the plan, and Version its routing_version.
	Route   string `json:"route,omitempty"`
	Version string `json:"routing_version,omitempty"`
	// Error is why the event, or the first such target, cannot be planned. Empty when everything can.
	Error string `json:"error"`
}

// Delivery is what one target of an [Explanation] does with the event.
type Delivery struct {
	Target      string `json:"target"`
	Destination string `json:"destination"`
	Decision    string `json:"decision"` // "deliver" or "skip"
	Reason      Reason `json:"reason"`
	// Condition is the first condition that is not met, as its author wrote it, when that is the reason.
	Condition    string  `json:"condition,omitempty"`
	DelaySeconds float64 `json:"delay_seconds"`
	RetryPolicy  string  `json:"retry_policy"`
	// Payload is what the destination receives: JSON unchanged, other text as a string, other bytes as a base64 string. Null
	// when it receives nothing.
	Payload json.RawMessage `json:"payload"`
	// Bytes are the exact bytes of the payload.
	Bytes []byte `json:"-"`
}

// Unplanned is the reason of a delivery that does not happen because its target, or with [AllOrNothing] another one, has an error.
const Unplanned Reason = "error"

// Resolver resolves events to plans. [Table] and [Live] implement it.
type Resolver interface {
	Resolve(e *Event) (*Plan, error)
}

// Explain returns what the forwarder does with e on its first pass, by the function that the forwarder calls: [Plan.First]. A nil known
// stands for a forwarder that delivers to any destination.
func Explain(r Resolver, e *Event, known Destinations) Explanation {
	x := Explanation{ID: e.ID, Deliveries: []Delivery{}}
	plan, err := r.Resolve(e)
	if err != nil {
		x.Error = err.Error()
		return x
	}
	x.Strategy, x.Route, x.Version = plan.Strategy, plan.Route, plan.Version
	for _, s := range plan.First(e, known, nil) {
		out := s.Target.explain(s.Decision)
		switch {
		case s.Err != nil:
			out.Reason = Unplanned
			if x.Error == "" && !errors.Is(s.Err, errOtherTarget) {
				x.Error = s.Err.Error()
			}
		case s.Reason == Condition:
			out.Condition = s.Target.failing(e)
		}
		x.Deliveries = append(x.Deliveries, out)
	}
	return x
}

func (t *Target) explain(d Decision) Delivery {
	out := Delivery{
		Target: t.Name, Destination: t.Destination, Decision: "skip", Reason: d.Reason,
		DelaySeconds: t.Delay.Seconds(), RetryPolicy: t.PolicyName,
	}
	if d.Deliver {
		out.Decision, out.Payload, out.Bytes = "deliver", show(d.Payload), d.Payload
	}
	return out
}

func show(payload []byte) json.RawMessage {
	if payload == nil {
		return json.RawMessage("null")
	}
	if json.Valid(payload) {
		return payload
	}
	var text any = payload // base64
	if utf8.Valid(payload) {
		text = string(payload)
	}
	out, err := json.Marshal(text)
	if err != nil {
		return json.RawMessage(fmt.Sprintf("%q", err))
	}
	return out
}

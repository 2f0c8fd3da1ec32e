package router

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// Explanation says where one event goes and why.
type Explanation struct {
	ID         string     `json:"id"`
	Strategy   Strategy   `json:"strategy"`
	Deliveries []Delivery `json:"deliveries"`
	// Route is the static route that the plan comes from, and Version its routing_version.
	Route   string `json:"route,omitempty"`
	Version string `json:"routing_version,omitempty"`
	// Error says why the event, or one of its targets, cannot be planned. Empty when all can.
	Error string `json:"error"`
}

// Delivery is what one target does with the event of an [Explanation].
type Delivery struct {
	Target      string `json:"target"`
	Destination string `json:"destination"`
	Decision    string `json:"decision"` // deliver or skip
	Reason      Reason `json:"reason"`   // of a target that cannot be planned, or that another one holds up: error
	// Condition is the first one that is not met, as its author wrote it. Of reason condition only.
	Condition    string  `json:"condition,omitempty"`
	DelaySeconds float64 `json:"delay_seconds"`
	RetryPolicy  string  `json:"retry_policy"`
	// Payload is what the destination gets: JSON as it is, any other text as a string, bytes as a base64 string. Null
	// when it gets nothing.
	Payload json.RawMessage `json:"payload"`
	// Bytes are those of the payload, exactly.
	Bytes []byte `json:"-"`
}

// Unplanned is the reason of a delivery that does not happen because a target cannot be planned.
const Unplanned Reason = "error"

// Explain tells what the forwarder does with e in its first pass. It resolves and decides with the code that the forwarder
// runs. r is a [Table] or a [Live].
func Explain(r interface {
	Resolve(e *Event) (*Plan, error)
}, e *Event) Explanation {
	x := Explanation{ID: e.ID, Deliveries: []Delivery{}}
	plan, err := r.Resolve(e)
	if err != nil {
		x.Error = err.Error()
		return x
	}
	x.Strategy, x.Route, x.Version = plan.Strategy, plan.Route, plan.Version
	matched, faults := false, 0
	for _, t := range plan.Targets {
		d, err := t.Decide(e)
		out := t.explain(d)
		switch {
		case err != nil:
			faults++
			out.Reason = Unplanned
			if x.Error == "" {
				x.Error = err.Error()
			}
		case !d.Deliver && d.Reason == Condition:
			out.Condition = t.failing(e)
		}
		matched = matched || d.Deliver || d.Reason == Sampling
		x.Deliveries = append(x.Deliveries, out)
	}
	switch {
	case faults > 0 && plan.Strategy == AllOrNothing:
		for i := range x.Deliveries {
			x.Deliveries[i] = x.Deliveries[i].cancelled()
		}
	case plan.Fallback != nil && (!matched || faults > 0):
		d, _ := plan.Fallback.Decide(e)
		x.Deliveries = append(x.Deliveries, plan.Fallback.explain(d))
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

// cancelled is d when another target of an all-or-nothing event cannot be planned.
func (d Delivery) cancelled() Delivery {
	if d.Decision == "deliver" {
		d.Decision, d.Reason, d.Payload, d.Bytes = "skip", Unplanned, nil, nil
	}
	return d
}

func show(payload []byte) json.RawMessage {
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

package router

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/bento-outbox/watermill-outbox/middleware"
)

// RoutingConfig is where an event goes. Events carry its JSON form, and routes files contain it:
//
//	{"version":1,"strategy":"best_effort","fallback":"default.events","targets":[
//	  {"destination":"kafka://search.index","conditions":{"payload.visible":true}}]}
type RoutingConfig struct {
	// Version is the version of this format, 1. 0 means 1.
	Version int `json:"version,omitempty"`
	// Strategy defaults to BestEffort.
	Strategy Strategy `json:"strategy,omitempty"`
	// Fallback is the destination of events that no target matches or that a target gives up. Empty means none.
	Fallback string `json:"fallback,omitempty"`
	// Targets decide independently. Without targets the fallback receives every event; without a fallback either, the config is ignored.
	Targets []TargetConfig `json:"targets"`
}

// TargetConfig is one target of a [RoutingConfig]. It matches, samples, delays and transforms, in this order.
type TargetConfig struct {
	// Name is unique in its config. Defaults to Destination.
	Name string `json:"name,omitempty"`
	// Destination is name://topic, or a bare topic for the default publisher.
	Destination string `json:"destination"`
	// Conditions are JSON in MongoDB's query language; see [middleware.MatchConfig]. Empty matches every event.
	Conditions json.RawMessage `json:"conditions,omitempty"`
	// When is an expr expression that must be true as well; see [middleware.MatchConfig]. Its authors must be trusted; see
	// [Config].AllowExprPerEvent.
	When string `json:"when,omitempty"`
	// SamplingRate is the share of the matching events that is delivered, 0 to 1. Nil means all.
	SamplingRate *float64 `json:"sampling_rate,omitempty"`
	// SamplingKey is a path whose value is sampled instead of the event's id, so that the events of one customer stay together.
	SamplingKey string `json:"sampling_key,omitempty"`
	// DelaySeconds counts from the time the event was stored. At most 366 days.
	DelaySeconds float64 `json:"delay_seconds,omitempty"`
	// Transform changes the payload for this destination. Nil keeps it byte for byte.
	Transform *middleware.TransformConfig `json:"transform,omitempty"`
	// RetryPolicy is the name of a policy. Defaults to "default".
	RetryPolicy string `json:"retry_policy,omitempty"`
	// OnDead is what happens to later events of a key when one is dead. Defaults to Continue.
	OnDead OnDead `json:"on_dead,omitempty"`
}

// OnDead is whether later events of a key wait for a dead one.
type OnDead string

// What a target can do with later events of a key.
const (
	Continue OnDead = "continue" // deliver them
	HoldKey  OnDead = "hold_key" // hold them until the dead one is replayed or discarded
)

// JSON returns the JSON form of c on one line.
func (c RoutingConfig) JSON() ([]byte, error) {
	text, err := marshal(c)
	if err != nil {
		return nil, fmt.Errorf("marshal routing config: %w", err)
	}
	return []byte(text), nil
}

// Validate returns an [InvalidConfigError] with everything that is wrong with c. It knows neither publishers nor policies other than the
// built-in ones; see [Table.Validate].
func (c RoutingConfig) Validate() error {
	r := &reader{}
	for i, t := range c.Targets {
		if len(t.Conditions) > 0 && !json.Valid(t.Conditions) {
			r.Add(fmt.Sprintf("/targets/%d/conditions", i), "is not JSON")
		}
	}
	if err := r.err(); err != nil {
		return err
	}
	text, err := c.JSON()
	if err != nil {
		return &InvalidConfigError{Faults: []Fault{{Message: err.Error()}}}
	}
	_, err = compile(string(text), trusted(&Config{}))
	return err
}

// ParseConfig parses the JSON form of a config. Unknown and duplicate keys are faults. The error is an [InvalidConfigError] with all
// faults of the form; [RoutingConfig.Validate] and [Table.Validate] check the values.
func ParseConfig(text []byte) (RoutingConfig, error) {
	r := &reader{limits: Limits{}.withDefaults()}
	cfg := r.config(r.parse(string(text), ""))
	return cfg, r.err()
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

package router

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/bento-outbox/watermill-outbox/middleware"
)

// RoutingConfig says which destinations get an event. Its JSON form is what an event carries and what a routes file holds:
//
//	{"version":1,"strategy":"best_effort","fallback":"default.events","targets":[
//	  {"destination":"kafka://search.index","conditions":{"payload.visible":true}}]}
type RoutingConfig struct {
	// Version is the version of this format, 1. 0 means 1.
	Version int `json:"version,omitempty"`
	// Strategy defaults to BestEffort.
	Strategy Strategy `json:"strategy,omitempty"`
	// Fallback is the destination of events that no target matched, or that a target gave up; empty for none.
	Fallback string `json:"fallback,omitempty"`
	// Targets are decided on one by one. Without any the fallback gets all events; without a fallback either, the config counts as none.
	Targets []TargetConfig `json:"targets"`
}

// TargetConfig is one target of a [RoutingConfig]. What it says is done in the order match, sample, delay, transform.
type TargetConfig struct {
	// Name is unique in its config. Defaults to Destination.
	Name string `json:"name,omitempty"`
	// Destination is name://topic, or a bare topic for the default publisher.
	Destination string `json:"destination"`
	// Conditions are JSON in MongoDB's query language, see [middleware.Match]. Empty matches every event.
	Conditions json.RawMessage `json:"conditions,omitempty"`
	// When is an expr expression that must hold as well, for trusted authors: see [Config].AllowExprPerEvent.
	When string `json:"when,omitempty"`
	// SamplingRate is the share of the matching events that is delivered, 0..1. Nil means all.
	SamplingRate *float64 `json:"sampling_rate,omitempty"`
	// SamplingKey is a path whose value is sampled in place of the event's id, so that the events of one customer stay together.
	SamplingKey string `json:"sampling_key,omitempty"`
	// DelaySeconds counts from when the event was stored. At most 366 days.
	DelaySeconds float64 `json:"delay_seconds,omitempty"`
	// Transform changes the payload that the destination gets. Nil leaves it as it is, to the byte.
	Transform *middleware.TransformConfig `json:"transform,omitempty"`
	// RetryPolicy is the name of a policy. Defaults to "default".
	RetryPolicy string `json:"retry_policy,omitempty"`
	// OnDead says what becomes of later events of the same key when one is dead. Defaults to Continue.
	OnDead OnDead `json:"on_dead,omitempty"`
}

// OnDead says whether later events of a key wait for a dead one.
type OnDead string

// What a target may do with later events of a key.
const (
	Continue OnDead = "continue" // deliver them
	HoldKey  OnDead = "hold_key" // hold them until the dead one is replayed or discarded
)

// JSON returns the config's JSON form on one line.
func (c RoutingConfig) JSON() ([]byte, error) {
	text, err := marshal(c)
	if err != nil {
		return nil, fmt.Errorf("marshal routing config: %w", err)
	}
	return []byte(text), nil
}

// Validate reports all that is wrong with c, as far as it can be told without knowing publishers and own policies; see
// [Table.Validate]. The error is an [InvalidConfigError].
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

// ParseConfig reads a config from JSON, strictly: unknown and duplicate keys are faults. The error is an [InvalidConfigError]
// with all the faults of the form; [RoutingConfig.Validate] and [Table.Validate] look at what it says.
func ParseConfig(text []byte) (RoutingConfig, error) {
	r := &reader{limits: Limits{}.withDefaults()}
	cfg := r.config(r.parse(string(text), ""))
	return cfg, r.err()
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

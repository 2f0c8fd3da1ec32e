package router

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/bento-outbox/watermill-outbox/internal/rules/jsontext"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

var (
	configKeys = []string{"version", "strategy", "fallback", "targets"}
	targetKeys = []string{"name", "destination", "conditions", "when", "sampling_rate", "sampling_key", "delay_seconds",
		"transform", "retry_policy", "on_dead"}
	transformKeys = []string{"include_fields", "exclude_fields", "field_mapping", "add_fields"}
)

func (r *reader) config(v value) RoutingConfig {
	var c RoutingConfig
	r.object(v, "a routing config", configKeys, func(key string, v value) {
		switch key {
		case "version":
			if n, err := strconv.Atoi(v.raw); err != nil || n != 1 {
				r.Add(v.at, "is %.20s; this release knows version 1", v.raw)
			} else {
				c.Version = n
			}
		case "strategy":
			c.Strategy = Strategy(r.str(v))
		case "fallback":
			if c.Fallback = r.str(v); v.raw == `""` {
				r.Add(v.at, "is empty; leave it out for no fallback")
			}
		case "targets":
			targets := r.array(v)
			if len(targets) > r.limits.Targets {
				r.Add(v.at, "has %d targets, more than %d", len(targets), r.limits.Targets)
				targets = targets[:r.limits.Targets]
			}
			for _, t := range targets {
				c.Targets = append(c.Targets, r.target(t))
			}
		}
	})
	if raw, _ := jsontext.Field(v.raw, "targets"); raw == "" && slices.ContainsFunc(configKeys, v.has) {
		r.Add(v.at, `has no "targets"`)
	}
	return c
}

func (r *reader) target(v value) TargetConfig {
	var t TargetConfig
	r.object(v, "a target", targetKeys, func(key string, v value) {
		switch key {
		case "name":
			t.Name = r.filled(v)
		case "destination":
			t.Destination = r.filled(v)
		case "conditions":
			t.Conditions = json.RawMessage(v.raw)
		case "when":
			t.When = r.filled(v)
		case "sampling_rate":
			if rate, ok := r.number(v); ok {
				t.SamplingRate = &rate
			}
		case "sampling_key":
			t.SamplingKey = r.filled(v)
		case "delay_seconds":
			t.DelaySeconds, _ = r.number(v)
		case "transform":
			t.Transform = r.transform(v)
		case "retry_policy":
			t.RetryPolicy = r.filled(v)
		case "on_dead":
			t.OnDead = OnDead(r.str(v))
		}
	})
	if v.kind() == jsontext.Object && !v.has("destination") {
		r.Add(v.at, `has no "destination"`)
	}
	return t
}

func (r *reader) transform(v value) *middleware.TransformConfig {
	t := &middleware.TransformConfig{}
	list := func(v value) (paths []string) {
		for _, elem := range r.array(v) {
			paths = append(paths, r.filled(elem))
		}
		return paths
	}
	r.object(v, "a transform", transformKeys, func(key string, v value) {
		switch key {
		case "include_fields":
			t.IncludeFields = list(v)
		case "exclude_fields":
			t.ExcludeFields = list(v)
		case "field_mapping":
			t.FieldMapping = make(map[string]string)
			r.object(v, "field_mapping", nil, func(from string, to value) { t.FieldMapping[from] = r.filled(to) })
		case "add_fields":
			t.AddFields = make(map[string]any)
			r.object(v, "add_fields", nil, func(path string, v value) { t.AddFields[path] = json.RawMessage(v.raw) })
		}
	})
	return t
}

package router

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/bento-outbox/watermill-outbox/internal/nearest"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

var (
	configKeys = []string{"version", "strategy", "fallback", "targets"}
	targetKeys = []string{"name", "destination", "conditions", "when", "sampling_rate", "sampling_key", "delay_seconds",
		"transform", "retry_policy", "on_dead"}
	transformKeys = []string{"include_fields", "exclude_fields", "field_mapping", "add_fields"}
)

// config reads a routing config. n is nil when it could not be parsed.
func (d *decoder) config(n *node) RoutingConfig {
	var c RoutingConfig
	d.object(n, "a routing config", configKeys, func(key string, val *node) {
		switch key {
		case "version":
			if v, err := strconv.Atoi(val.raw); err != nil || v != 1 {
				d.Add(val.pointer, "is %.20s; this release knows version 1", val.raw)
			} else {
				c.Version = v
			}
		case "strategy":
			c.Strategy = Strategy(d.str(val))
		case "fallback":
			if c.Fallback = d.str(val); c.Fallback == "" && val.kind == "a string" {
				d.Add(val.pointer, "is empty; leave it out for no fallback")
			}
		case "targets":
			for i, elem := range d.array(val) {
				if i == d.limits.Targets {
					d.Add(val.pointer, "has %d targets, more than %d", len(val.elems), d.limits.Targets)
					break
				}
				c.Targets = append(c.Targets, d.target(elem))
			}
		}
	})
	if n != nil && n.kind == "an object" && !n.member("targets") && slices.ContainsFunc(configKeys, n.has) {
		d.Add(n.pointer, `has no "targets"`)
	}
	return c
}

func (d *decoder) target(n *node) TargetConfig {
	var t TargetConfig
	d.object(n, "a target", targetKeys, func(key string, val *node) {
		switch key {
		case "name":
			t.Name = d.filled(val)
		case "destination":
			t.Destination = d.filled(val)
		case "conditions":
			t.Conditions = json.RawMessage(val.raw)
		case "when":
			t.When = d.filled(val)
		case "sampling_rate":
			if rate, ok := d.number(val); ok {
				t.SamplingRate = &rate
			}
		case "sampling_key":
			t.SamplingKey = d.filled(val)
		case "delay_seconds":
			t.DelaySeconds, _ = d.number(val)
		case "transform":
			t.Transform = d.transform(val)
		case "retry_policy":
			t.RetryPolicy = d.filled(val)
		case "on_dead":
			t.OnDead = OnDead(d.str(val))
		}
	})
	if n.kind == "an object" && !n.has("destination") {
		d.Add(n.pointer, `has no "destination"`)
	}
	return t
}

func (d *decoder) transform(n *node) *middleware.TransformConfig {
	t := &middleware.TransformConfig{}
	list := func(val *node) (paths []string) {
		for _, elem := range d.array(val) {
			paths = append(paths, d.filled(elem))
		}
		return paths
	}
	d.object(n, "a transform", transformKeys, func(key string, val *node) {
		switch key {
		case "include_fields":
			t.IncludeFields = list(val)
		case "exclude_fields":
			t.ExcludeFields = list(val)
		case "field_mapping":
			t.FieldMapping = make(map[string]string)
			d.object(val, "field_mapping", nil, func(from string, to *node) { t.FieldMapping[from] = d.filled(to) })
		case "add_fields":
			t.AddFields = make(map[string]any)
			d.object(val, "add_fields", nil, func(path string, v *node) { t.AddFields[path] = json.RawMessage(v.raw) })
		}
	})
	return t
}

// object calls f for every member of n whose key is known, unless it is null, which means not given; with no known keys, for every member.
func (d *decoder) object(n *node, what string, known []string, f func(key string, val *node)) {
	if n == nil {
		return
	}
	if n.kind != "an object" {
		d.Add(n.pointer, "%s must be an object, not %s", what, n.kind)
		return
	}
	for _, m := range n.members {
		if known != nil && !slices.Contains(known, m.key) {
			if near := nearest.Name(m.key, known); near != "" {
				d.Add(m.pointer, "unknown key %.60q, did you mean %q?", m.key, near)
			} else {
				d.Add(m.pointer, "unknown key %.60q; known are %s", m.key, strings.Join(known, ", "))
			}
			continue
		}
		if known == nil || m.kind != "null" {
			f(m.key, m.node)
		}
	}
}

func (d *decoder) array(n *node) []*node {
	if n.kind != "an array" {
		d.Add(n.pointer, "must be an array, not %s", n.kind)
	}
	return n.elems
}

func (d *decoder) str(n *node) string {
	if n.kind != "a string" {
		d.Add(n.pointer, "must be a string, not %s", n.kind)
	}
	return n.text
}

func (d *decoder) filled(n *node) string {
	text := d.str(n)
	if text == "" && n.kind == "a string" {
		d.Add(n.pointer, "is empty")
	}
	return text
}

func (d *decoder) number(n *node) (float64, bool) {
	if n.kind != "a number" {
		d.Add(n.pointer, "must be a number, not %s", n.kind)
		return 0, false
	}
	v, err := strconv.ParseFloat(n.raw, 64)
	if err != nil || math.IsInf(v, 0) {
		d.Add(n.pointer, "is out of range")
		return 0, false
	}
	return v, true
}

// has reports whether key is given, and is not null.
func (n *node) has(key string) bool {
	return slices.ContainsFunc(n.members, func(m member) bool { return m.key == key && m.kind != "null" })
}

// member reports whether key is there.
func (n *node) member(key string) bool {
	return slices.ContainsFunc(n.members, func(m member) bool { return m.key == key })
}

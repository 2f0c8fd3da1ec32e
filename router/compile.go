package router

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/bento-outbox/watermill-outbox/internal/nearest"
	"github.com/bento-outbox/watermill-outbox/internal/rules"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

// settings is what a config is compiled against.
type settings struct {
	limits     Limits
	policies   map[string]middleware.RetryPolicy
	publishers []string // nil: not known
	when       bool     // expr is allowed
}

func newSettings(cfg *Config) settings {
	r := settings{limits: cfg.Limits.withDefaults(), policies: middleware.Policies(), publishers: cfg.Publishers, when: cfg.AllowExprPerEvent}
	maps.Copy(r.policies, cfg.Policies)
	return r
}

// trusted is the settings for configs whose authors may write expr.
func trusted(cfg *Config) settings {
	r := newSettings(cfg)
	r.when = true
	return r
}

// compile reads, validates and compiles one config. Pointers of faults begin with pointer. A config with neither targets nor a fallback says
// nothing: its plan is empty.
func compile(text, pointer string, r settings) (*Plan, error) {
	d := &decoder{limits: r.limits}
	n := d.parse(text, pointer)
	if n == nil {
		return nil, d.err()
	}
	cfg := d.config(n)
	p := &Plan{Strategy: cfg.Strategy}
	switch cfg.Strategy {
	case "":
		p.Strategy = BestEffort
	case BestEffort, AllOrNothing:
	default:
		d.unknown(pointer+"/strategy", "strategy", string(cfg.Strategy), []string{string(BestEffort), string(AllOrNothing)})
	}
	r.limits = r.limits.shared(cfg.Targets)
	d.Limits = rules.Limits(r.limits.Match)
	names := make(map[string]bool)
	for i, tc := range cfg.Targets {
		at := pointer + "/targets/" + strconv.Itoa(i)
		t := d.compileTarget(tc, at, r)
		if t.Name != "" && names[t.Name] {
			place := at + "/name"
			if tc.Name == "" {
				place = at + "/destination"
			}
			d.Add(place, "target name %.200q is used twice; give each target a name of its own", t.Name)
		}
		names[t.Name] = true
		p.Targets = append(p.Targets, t)
		p.looks = p.looks || t.matcher != nil || t.sampler != nil || t.transform != nil
	}
	if cfg.Fallback != "" {
		d.destination(cfg.Fallback, pointer+"/fallback", r)
		p.Fallback = &Target{
			Name: cfg.Fallback, Destination: cfg.Fallback, Policy: r.policies["default"], PolicyName: "default", OnDead: Continue, fallback: true,
		}
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return p, nil
}

func (d *decoder) compileTarget(c TargetConfig, at string, r settings) *Target {
	t := &Target{Name: c.Name, Destination: c.Destination, PolicyName: c.RetryPolicy, OnDead: c.OnDead}
	if t.Name == "" {
		t.Name = t.Destination
	}
	if len(c.Name) > maxTargetName || strings.ContainsRune(c.Name, 0) {
		d.Add(at+"/name", "is longer than %d bytes, or has a NUL", maxTargetName)
	}
	if c.Destination != "" {
		d.destination(c.Destination, at+"/destination", r)
	}
	d.compileMatch(t, c, at, r)
	if c.SamplingRate != nil || c.SamplingKey != "" {
		rate := 1.0
		if c.SamplingRate != nil {
			rate = *c.SamplingRate
		} else {
			d.Add(at+"/sampling_key", "needs a sampling_rate beside it")
		}
		t.sampler = d.Sampler(rate, t.Name, c.SamplingKey, at)
	}
	if c.DelaySeconds < 0 || c.DelaySeconds > maxDelay*24*3600 {
		d.Add(at+"/delay_seconds", "is %v, must be between 0 and %d (%d days)", c.DelaySeconds, maxDelay*24*3600, maxDelay)
	} else {
		t.Delay = seconds(c.DelaySeconds)
	}
	if tc := c.Transform; tc != nil && len(tc.IncludeFields)+len(tc.ExcludeFields)+len(tc.FieldMapping)+len(tc.AddFields) > 0 {
		t.transform = d.Transformer(rules.TransformConfig(*tc), at+"/transform")
	}
	if t.PolicyName == "" {
		t.PolicyName = "default"
	}
	var known bool
	if t.Policy, known = r.policies[t.PolicyName]; !known {
		d.unknown(at+"/retry_policy", "retry policy", t.PolicyName, slices.Sorted(maps.Keys(r.policies)))
	}
	switch t.OnDead {
	case "":
		t.OnDead = Continue
	case Continue, HoldKey:
	default:
		d.unknown(at+"/on_dead", "value", string(t.OnDead), []string{string(Continue), string(HoldKey)})
	}
	return t
}

func (d *decoder) compileMatch(t *Target, c TargetConfig, at string, r settings) {
	if c.When != "" && !r.when {
		d.Add(at+"/when", "is not allowed in the config of an event; put it in a static route, or let the forwarder allow it")
		c.When = ""
	}
	if len(c.Conditions) == 0 && c.When == "" {
		return
	}
	t.matcher = d.Matcher(string(c.Conditions), at+"/conditions", c.When, at+"/when")
}

// destination checks the form name://topic and, when publishers are known, the name.
func (d *decoder) destination(destination, at string, r settings) {
	name, topic, named := strings.Cut(destination, "://")
	switch {
	case len(destination) > maxDestination || strings.ContainsRune(destination, 0):
		d.Add(at, "is longer than %d bytes, or has a NUL", maxDestination)
	case named && name == "":
		d.Add(at, "has no publisher name in front of ://")
	case named && topic == "":
		d.Add(at, "has no topic behind ://")
	case named && r.publishers != nil && !slices.Contains(r.publishers, name):
		d.unknown(at, "publisher", name, r.publishers)
	}
}

func (d *decoder) unknown(at, what, name string, known []string) {
	hint := "; known are " + strings.Join(known, ", ")
	if near := nearest.Name(name, known); near != "" {
		hint = fmt.Sprintf(", did you mean %q?", near)
	}
	d.Add(at, "unknown %s %.60q%s", what, name, hint)
}

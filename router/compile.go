package router

import (
	"maps"
	"slices"
	"strconv"
	"strings"

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
	s := settings{limits: cfg.Limits.withDefaults(), policies: middleware.Policies(), publishers: cfg.Publishers, when: cfg.AllowExprPerEvent}
	maps.Copy(s.policies, cfg.Policies)
	return s
}

// trusted is the settings for configs whose authors may write expr.
func trusted(cfg *Config) settings {
	s := newSettings(cfg)
	s.when = true
	return s
}

// compile returns the plan of one config, or an error with all its faults.
func compile(text string, s settings) (*Plan, error) {
	r := &reader{}
	p := r.compile(text, "", s)
	return p, r.err()
}

// compile reads and compiles one config whose place is at. After a fault it returns nil. A config with neither targets nor a fallback says
// nothing: its plan is empty.
func (r *reader) compile(text, at string, s settings) *Plan {
	before := len(r.List)
	r.limits = s.limits
	v := r.parse(text, at)
	if v.raw == "" {
		return nil
	}
	cfg := r.config(v)
	p := &Plan{Strategy: cfg.Strategy}
	switch cfg.Strategy {
	case "":
		p.Strategy = BestEffort
	case BestEffort, AllOrNothing:
	default:
		r.unknown(at+"/strategy", "strategy", string(cfg.Strategy), []string{string(BestEffort), string(AllOrNothing)})
	}
	s.limits = s.limits.shared(cfg.Targets)
	r.Limits = rules.Limits(s.limits.Match)
	names := make(map[string]bool)
	for i, tc := range cfg.Targets {
		at := at + "/targets/" + strconv.Itoa(i)
		t := r.compileTarget(tc, at, s)
		if t.Name != "" && names[t.Name] {
			place := at + "/name"
			if tc.Name == "" {
				place = at + "/destination"
			}
			r.Add(place, "target name %.200q is used twice; give each target a name of its own", t.Name)
		}
		names[t.Name] = true
		p.Targets = append(p.Targets, t)
		p.looks = p.looks || t.matcher != nil || t.sampler != nil || t.transform != nil
	}
	if cfg.Fallback != "" {
		r.destination(cfg.Fallback, at+"/fallback", s)
		p.Fallback = &Target{
			Name: cfg.Fallback, Destination: cfg.Fallback, Policy: s.policies["default"], PolicyName: "default", OnDead: Continue, fallback: true,
		}
	}
	if len(r.List) > before {
		return nil
	}
	return p
}

func (r *reader) compileTarget(c TargetConfig, at string, s settings) *Target {
	t := &Target{Name: c.Name, Destination: c.Destination, PolicyName: c.RetryPolicy, OnDead: c.OnDead}
	if t.Name == "" {
		t.Name = t.Destination
	}
	if len(c.Name) > maxTargetName || strings.ContainsRune(c.Name, 0) {
		r.Add(at+"/name", "is longer than %d bytes, or has a NUL", maxTargetName)
	}
	if c.Destination != "" {
		r.destination(c.Destination, at+"/destination", s)
	}
	r.compileMatch(t, c, at, s)
	if c.SamplingRate != nil || c.SamplingKey != "" {
		rate := 1.0
		if c.SamplingRate != nil {
			rate = *c.SamplingRate
		} else {
			r.Add(at+"/sampling_key", "needs a sampling_rate beside it")
		}
		t.sampler = r.Sampler(rate, t.Name, c.SamplingKey, at)
	}
	if c.DelaySeconds < 0 || c.DelaySeconds > maxDelay*24*3600 {
		r.Add(at+"/delay_seconds", "is %v, must be between 0 and %d (%d days)", c.DelaySeconds, maxDelay*24*3600, maxDelay)
	} else {
		t.Delay = seconds(c.DelaySeconds)
	}
	if tc := c.Transform; tc != nil && len(tc.IncludeFields)+len(tc.ExcludeFields)+len(tc.FieldMapping)+len(tc.AddFields) > 0 {
		t.transform = r.Transformer(rules.TransformConfig(*tc), at+"/transform")
	}
	if t.PolicyName == "" {
		t.PolicyName = "default"
	}
	var known bool
	if t.Policy, known = s.policies[t.PolicyName]; !known {
		r.unknown(at+"/retry_policy", "retry policy", t.PolicyName, slices.Sorted(maps.Keys(s.policies)))
	}
	switch t.OnDead {
	case "":
		t.OnDead = Continue
	case Continue, HoldKey:
	default:
		r.unknown(at+"/on_dead", "value", string(t.OnDead), []string{string(Continue), string(HoldKey)})
	}
	return t
}

func (r *reader) compileMatch(t *Target, c TargetConfig, at string, s settings) {
	if c.When != "" && !s.when {
		r.Add(at+"/when", "is not allowed in the config of an event; put it in a static route, or let the forwarder allow it")
		c.When = ""
	}
	if len(c.Conditions) == 0 && c.When == "" {
		return
	}
	t.matcher = r.Matcher(string(c.Conditions), at+"/conditions", c.When, at+"/when")
}

// destination checks the form name://topic and, when publishers are known, the name.
func (r *reader) destination(destination, at string, s settings) {
	name, topic, named := strings.Cut(destination, "://")
	switch {
	case len(destination) > maxDestination || strings.ContainsRune(destination, 0):
		r.Add(at, "is longer than %d bytes, or has a NUL", maxDestination)
	case named && name == "":
		r.Add(at, "has no publisher name in front of ://")
	case named && topic == "":
		r.Add(at, "has no topic behind ://")
	case named && s.publishers != nil && !slices.Contains(s.publishers, name):
		r.unknown(at, "publisher", name, s.publishers)
	}
}

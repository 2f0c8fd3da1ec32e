package router

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/bento-outbox/watermill-outbox/middleware"
)

// Builder puts a [RoutingConfig] together. The zero value is not usable; see [NewBuilder].
type Builder struct {
	config RoutingConfig
	err    error
}

// NewBuilder starts a config of version 1 with the strategy [BestEffort].
func NewBuilder() *Builder { return &Builder{config: RoutingConfig{Version: 1}} }

// AllOrNothing sets the strategy.
func (b *Builder) AllOrNothing() *Builder {
	b.config.Strategy = AllOrNothing
	return b
}

// Fallback sets the destination of events that no target matched, or that a target gave up.
func (b *Builder) Fallback(destination string) *Builder {
	b.config.Fallback = destination
	return b
}

// Target adds a target.
func (b *Builder) Target(destination string, options ...TargetOption) *Builder {
	t := target{TargetConfig: TargetConfig{Destination: destination}}
	for _, option := range options {
		option(&t)
	}
	conditions, err := t.conditions()
	if err != nil && b.err == nil {
		b.err = fmt.Errorf("target %q: %w", destination, err)
	}
	t.Conditions = conditions
	b.config.Targets = append(b.config.Targets, t.TargetConfig)
	return b
}

// Build returns the config, or an [InvalidConfigError] with all that is wrong with it; see [RoutingConfig.Validate].
func (b *Builder) Build() (RoutingConfig, error) {
	if b.err != nil {
		return RoutingConfig{}, fmt.Errorf("%w: %w", ErrInvalidConfig, b.err)
	}
	return b.config, b.config.Validate()
}

// JSON returns the JSON form of what Build returns.
func (b *Builder) JSON() ([]byte, error) {
	c, err := b.Build()
	if err != nil {
		return nil, err
	}
	return c.JSON()
}

// TargetOption says something about a target of a [Builder].
type TargetOption func(*target)

// target is a TargetConfig whose conditions are still apart.
type target struct {
	TargetConfig
	all []clause
}

type clause struct {
	path  string
	value any
}

// conditions returns the JSON of all clauses, in their order. Clauses on one path are put together with $and.
func (t *target) conditions() (json.RawMessage, error) {
	if len(t.all) == 0 {
		return nil, nil
	}
	seen, repeated := make(map[string]bool), false
	texts := make([]string, len(t.all))
	for i, c := range t.all {
		name, err := marshal(c.path)
		if err != nil {
			return nil, err
		}
		value, err := marshal(c.value)
		if err != nil {
			return nil, fmt.Errorf("condition on %s: %w", c.path, err)
		}
		texts[i] = name + ":" + value
		repeated, seen[c.path] = repeated || seen[c.path], true
	}
	var out bytes.Buffer
	begin, between, end := "{", ",", "}"
	if repeated {
		begin, between, end = `{"$and":[{`, "},{", "}]}"
	}
	out.WriteString(begin)
	for i, text := range texts {
		if i > 0 {
			out.WriteString(between)
		}
		out.WriteString(text)
	}
	out.WriteString(end)
	return out.Bytes(), nil
}

func marshal(v any) (string, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return string(bytes.TrimRight(out.Bytes(), "\n")), nil
}

// Named gives the target a name. Its default is the destination.
func Named(name string) TargetOption { return func(t *target) { t.Name = name } }

// If adds a condition: value is what path must be equal to, or an operator such as [Gt]. A target gets an event when all
// its conditions are met.
func If(path string, value any) TargetOption {
	return func(t *target) { t.all = append(t.all, clause{path, value}) }
}

// When sets an expr expression that must hold as well; see [middleware.WithWhen]. It is refused in the configs of events unless
// the table allows it.
func When(expression string) TargetOption { return func(t *target) { t.When = expression } }

// Sample delivers a share of the matching events, 0..1.
func Sample(rate float64) TargetOption { return func(t *target) { t.SamplingRate = &rate } }

// SampleBy is [Sample] by the value of a path, such as payload.customer.id, whose events stay together.
func SampleBy(rate float64, path string) TargetOption {
	return func(t *target) { t.SamplingRate, t.SamplingKey = &rate, path }
}

// DelayBy delivers not before d after the event was stored.
func DelayBy(d time.Duration) TargetOption { return func(t *target) { t.DelaySeconds = d.Seconds() } }

// Transform changes the payload that the destination gets.
func Transform(c middleware.TransformConfig) TargetOption {
	return func(t *target) { t.Transform = &c }
}

// RetryPolicy names the retry policy.
func RetryPolicy(name string) TargetOption { return func(t *target) { t.RetryPolicy = name } }

// WithOnDead says what becomes of later events of a key when one is dead.
func WithOnDead(o OnDead) TargetOption { return func(t *target) { t.OnDead = o } }

// Gt is $gt, an operator for [If].
func Gt(v any) any { return map[string]any{"$gt": v} }

// Gte is $gte.
func Gte(v any) any { return map[string]any{"$gte": v} }

// Lt is $lt.
func Lt(v any) any { return map[string]any{"$lt": v} }

// Lte is $lte.
func Lte(v any) any { return map[string]any{"$lte": v} }

// Ne is $ne.
func Ne(v any) any { return map[string]any{"$ne": v} }

// In is $in.
func In(values ...any) any { return map[string]any{"$in": list(values)} }

// NotIn is $nin.
func NotIn(values ...any) any { return map[string]any{"$nin": list(values)} }

// Exists is $exists.
func Exists(yes bool) any { return map[string]any{"$exists": yes} }

// Regex is $regex, in RE2.
func Regex(pattern string) any { return map[string]any{"$regex": pattern} }

func list(values []any) []any {
	if values == nil {
		return []any{}
	}
	return values
}

// SimpleRouting sends every event to destination.
func SimpleRouting(destination string) RoutingConfig {
	return RoutingConfig{Version: 1, Targets: []TargetConfig{{Destination: destination}}}
}

// ConditionalRouting sends the events that meet conditions, which are JSON in MongoDB's query language, to destination, and the
// others to otherwise, unless that is empty.
func ConditionalRouting(destination, conditions, otherwise string) RoutingConfig {
	return RoutingConfig{
		Version: 1, Fallback: otherwise,
		Targets: []TargetConfig{{Destination: destination, Conditions: json.RawMessage(conditions)}},
	}
}

// SamplingRouting sends a share of the events, 0..1, to destination.
func SamplingRouting(destination string, rate float64) RoutingConfig {
	return RoutingConfig{Version: 1, Targets: []TargetConfig{{Destination: destination, SamplingRate: &rate}}}
}

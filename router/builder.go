package router

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Builder assembles a [RoutingConfig]. The zero value is not usable; see [NewBuilder].
type Builder struct {
	config RoutingConfig
	err    error
}

// NewBuilder returns a builder of a config of version 1 with the strategy [BestEffort].
func NewBuilder() *Builder { return &Builder{config: RoutingConfig{Version: 1}} }

// AllOrNothing sets the strategy.
func (b *Builder) AllOrNothing() *Builder {
	b.config.Strategy = AllOrNothing
	return b
}

// Fallback sets the destination of events that no target matches or that a target gives up.
func (b *Builder) Fallback(destination string) *Builder {
	b.config.Fallback = destination
	return b
}

// Target adds t. It receives the events that meet t.Conditions and all of conditions.
func (b *Builder) Target(t TargetConfig, conditions ...Clause) *Builder {
	if len(conditions) > 0 {
		var err error
		if t.Conditions, err = join(t.Conditions, conditions); err != nil && b.err == nil {
			b.err = fmt.Errorf("target %q: %w", t.Destination, err)
		}
	}
	b.config.Targets = append(b.config.Targets, t)
	return b
}

// Build returns the config, or an [InvalidConfigError] with everything that is wrong with it; see [RoutingConfig.Validate].
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

// Clause is one condition of a target; see [If].
type Clause struct {
	path  string
	value any
}

// If returns the condition that the value at path equals value or, when value is an [Op], meets its operators.
func If(path string, value any) Clause { return Clause{path, value} }

// Op is an object of operators for [If], such as Op{"$gte": 10, "$lt": 20}.
type Op map[string]any

// join returns the JSON of clauses, in their order, and of conditions. Clauses on the same path are put together with $and.
func join(conditions json.RawMessage, clauses []Clause) (json.RawMessage, error) {
	seen, separate := make(map[string]bool), len(conditions) > 0
	members := make([]string, len(clauses))
	for i, c := range clauses {
		path, err := marshal(c.path)
		if err != nil {
			return nil, err
		}
		value, err := marshal(c.value)
		if err != nil {
			return nil, fmt.Errorf("condition on %s: %w", c.path, err)
		}
		members[i] = path + ":" + value
		separate, seen[c.path] = separate || seen[c.path], true
	}
	if !separate {
		return json.RawMessage("{" + strings.Join(members, ",") + "}"), nil
	}
	text := "{" + strings.Join(members, "},{") + "}"
	if len(conditions) > 0 {
		text = string(conditions) + "," + text
	}
	return json.RawMessage(`{"$and":[` + text + `]}`), nil
}

// marshal returns the JSON of v on one line, without escapes that only HTML needs.
func marshal(v any) (string, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimRight(out.String(), "\n"), nil
}

// SimpleRouting returns a config that sends every event to destination.
func SimpleRouting(destination string) RoutingConfig {
	return RoutingConfig{Version: 1, Targets: []TargetConfig{{Destination: destination}}}
}

// ConditionalRouting returns a config that sends events that meet conditions, JSON in MongoDB's query language, to destination and all
// others to otherwise. An empty otherwise sends them nowhere.
func ConditionalRouting(destination, conditions, otherwise string) RoutingConfig {
	return RoutingConfig{
		Version: 1, Fallback: otherwise,
		Targets: []TargetConfig{{Destination: destination, Conditions: json.RawMessage(conditions)}},
	}
}

// SamplingRouting returns a config that sends a share of the events, 0 to 1, to destination.
func SamplingRouting(destination string, rate float64) RoutingConfig {
	return RoutingConfig{Version: 1, Targets: []TargetConfig{{Destination: destination, SamplingRate: &rate}}}
}

package rules_test

import (
	"testing"

	"github.com/bento-outbox/watermill-outbox/internal/event"
	"github.com/bento-outbox/watermill-outbox/internal/rules"
)

// The parts of this package, each asked about an event of its own.
type (
	conditions struct{ *rules.Matcher }
	sample     struct{ *rules.Sampler }
	transform  struct{ *rules.Transformer }
)

func (c conditions) Match(e *event.Event) (bool, error) {
	s := rules.Open(e)
	defer s.Close()
	return c.Matcher.Match(s)
}

func (c conditions) Failing(e *event.Event) (string, error) {
	s := rules.Open(e)
	defer s.Close()
	return c.Matcher.Failing(s)
}

func (m sample) Hit(e *event.Event) (bool, error) {
	s := rules.Open(e)
	defer s.Close()
	return m.Sampler.Hit(s)
}

func (t transform) Transform(payload []byte) ([]byte, error) {
	s := rules.Open(&event.Event{Payload: payload})
	defer s.Close()
	return t.Apply(s)
}

func compileConditions(text, when string) (conditions, []rules.Fault) {
	var c rules.Compiler
	m := c.Matcher(text, "", when, "")
	return conditions{m}, c.List
}

func compileTransform(cfg rules.TransformConfig) (transform, []rules.Fault) {
	var c rules.Compiler
	t := c.Transformer(cfg, "")
	return transform{t}, c.List
}

func matcher(t testing.TB, text, when string) conditions {
	t.Helper()
	m, faults := compileConditions(text, when)
	if len(faults) > 0 {
		t.Fatalf("%s %s: %v", text, when, faults)
	}
	return m
}

func sampler(t *testing.T, rate float64, target, key string) sample {
	t.Helper()
	var c rules.Compiler
	s := c.Sampler(rate, target, key, "")
	if len(c.List) > 0 {
		t.Fatal(c.List)
	}
	return sample{s}
}

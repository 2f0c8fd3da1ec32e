package rules

import (
	"fmt"
	"strings"
	"sync"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"

	"github.com/bento-outbox/watermill-outbox/internal/fault"
	"github.com/bento-outbox/watermill-outbox/internal/rules/jsontext"
)

// Matcher is the conditions and the `when` of one target. Its expr program calls the tree of conditions once and goes on with the `when`: the
// conditions come first because they cost less. It is immutable and safe for concurrent use.
type Matcher struct {
	conditions allOf
	when       string
	work       int         // what they may cost on one event
	program    *vm.Program // nil when everything matches
}

// Matcher compiles conditions, JSON in MongoDB's query language, and when, an expr expression. Empty ones match every event. Faults are
// reported at conditionsAt and whenAt, or below.
func (c *Compiler) Matcher(conditions, conditionsAt, when, whenAt string) *Matcher {
	c.begin()
	m := &Matcher{when: when, work: c.limits.Work}
	if text := strings.TrimSpace(conditions); text != "" {
		if at := jsontext.Check(text); at >= 0 {
			c.Add(conditionsAt, "is not JSON at byte %d", at)
		} else {
			m.conditions, _ = c.query(jsontext.Trim(text), conditionsAt, 0, false).(allOf)
		}
	}
	conditional := len(m.conditions) > 0
	switch {
	case when != "":
		var err error
		if m.program, err = compileWhen(when, conditional, c.limits.WhenLength); err != nil {
			c.Add(whenAt, "%s", err)
		}
	case conditional:
		m.program = conditionsAlone()
	}
	return m
}

// conditionsAlone is the program of every matcher without a `when`.
var conditionsAlone = sync.OnceValue(func() *vm.Program {
	program, err := expr.Compile(callConditions, expr.Env(&Subject{}))
	if err != nil {
		panic(err)
	}
	return program
})

// Match reports whether s matches.
//
// The error is permanent: a condition looks into the payload and that is not JSON, the conditions need more work than [Limits].Work allows,
// or a `when` cannot be evaluated. An empty payload has no fields.
func (m *Matcher) Match(s *Subject) (bool, error) {
	if m.program == nil {
		return true, nil
	}
	s.begin(m.work)
	s.conditions = m.conditions
	if m.when != "" {
		s.name()
	}
	out, err := s.machine.Run(m.program, s)
	if m.when != "" {
		s.unname()
	}
	switch {
	case s.bad:
		return false, notJSON(s.fault, "a condition looks into it")
	case s.work < 0:
		return false, fault.Permanent(fmt.Errorf("conditions cost too much on a payload of %d bytes; make them simpler, or the payload smaller",
			len(s.event.Payload)))
	case err != nil:
		return false, fault.Permanent(fmt.Errorf("when cannot be evaluated: %w", safeExprError(err)))
	}
	met, _ := out.(bool)
	return met, nil
}

// Failing returns the first condition that s does not meet, as the author wrote it, or "" when s matches. It says what
// [Matcher.Match] says and costs more.
func (m *Matcher) Failing(s *Subject) (string, error) {
	met, err := m.Match(s)
	if met || err != nil {
		return "", err
	}
	s.begin(m.work)
	for _, n := range m.conditions {
		if text := failing(n, s); text != "" {
			return text, nil
		}
	}
	return "when: " + m.when, nil
}

func failing(n node, s *Subject) string {
	if n.eval(s, value{}) {
		return ""
	}
	switch n := n.(type) {
	case allOf:
		for _, child := range n {
			if text := failing(child, s); text != "" {
				return text
			}
		}
	case anyOf:
		return n.text
	case negation:
		return n.text
	case *leaf:
		return fmt.Sprintf(`%s: {"%s":%s}`, n.path.text, n.op, n.operand)
	}
	return ""
}

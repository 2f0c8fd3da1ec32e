package rules

import (
	"fmt"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"

	"github.com/bento-outbox/watermill-outbox/internal/fault"
	"github.com/bento-outbox/watermill-outbox/internal/rules/jsontext"
)

// Matcher is compiled conditions and a compiled `when`: one expr program that calls the operators. It is immutable and safe for concurrent use.
type Matcher struct {
	conditions allOf
	leaves     []*leaf
	work       int // what they may cost on one event
	when       *whenExpr
	program    *vm.Program // nil when everything matches
}

// Matcher compiles conditions, JSON in MongoDB's query language, and when, an expr expression. Empty ones match every event. Faults are
// reported at conditionsAt and whenAt, or below.
func (c *Compiler) Matcher(conditions, conditionsAt, when, whenAt string) *Matcher {
	c.begin()
	m, faults := &Matcher{work: c.limits.Work}, len(c.List)
	if text := strings.TrimSpace(conditions); text != "" {
		if at := jsontext.Check(text); at >= 0 {
			c.Add(conditionsAt, "is not JSON at byte %d", at)
		} else {
			m.conditions, _ = c.query(jsontext.Trim(text), conditionsAt, 0, false).(allOf)
		}
	}
	if when != "" {
		var err error
		if m.when, err = checkWhen(when, c.limits); err != nil {
			c.Add(whenAt, "%s", err)
		}
	}
	if len(c.List) == faults {
		if err := m.compile(); err != nil {
			c.Add(conditionsAt, "%s", err)
		}
	}
	return m
}

// compile writes the program. The conditions come first: they cost less than a `when`.
func (m *Matcher) compile() error {
	var source strings.Builder
	m.write(&source, m.conditions)
	if m.when != nil {
		if source.Len() > 0 {
			source.WriteString(" && ")
		}
		source.WriteString("$bool((\n" + m.when.text + "\n))")
	}
	if source.Len() == 0 {
		return nil
	}
	options := []expr.Option{expr.Env(&Subject{}), expr.AsBool(), expr.MaxNodes(0), expr.DisableBuiltin("now")}
	for _, op := range fieldOperators {
		options = append(options, expr.Function(op, m.call, new(func(any, int) bool)))
	}
	if m.when != nil {
		m.when.paths, m.when.patterns = nil, nil
		options = append(options, m.when.options(&whenMeter{when: m.when})...)
	}
	var err error
	if m.program, err = expr.Compile(source.String(), options...); err != nil {
		return fmt.Errorf("compile conditions: %w", err)
	}
	return nil
}

// write writes n as an expr expression in which leaf number i is a call such as $gt($env, i).
func (m *Matcher) write(out *strings.Builder, n node) {
	switch n := n.(type) {
	case allOf:
		m.join(out, n, " && ", "true")
	case anyOf:
		m.join(out, n.nodes, " || ", "false")
	case negation:
		out.WriteString("!(")
		m.write(out, n.node)
		out.WriteString(")")
	case *leaf:
		fmt.Fprintf(out, "%s($env, %d)", n.op, len(m.leaves))
		m.leaves = append(m.leaves, n)
	}
}

func (m *Matcher) join(out *strings.Builder, nodes []node, operator, empty string) {
	if len(nodes) == 0 {
		if out.Len() > 0 || empty == "false" {
			out.WriteString(empty)
		}
		return
	}
	out.WriteString("(")
	for i, n := range nodes {
		if i > 0 {
			out.WriteString(operator)
		}
		m.write(out, n)
	}
	out.WriteString(")")
}

func (m *Matcher) call(params ...any) (any, error) {
	s := params[0].(*Subject)
	met := m.leaves[params[1].(int)].eval(s, value{})
	if s.stopped() {
		return nil, errStopped
	}
	return met, nil
}

// Match reports whether s matches.
//
// The error is permanent: a condition looks into the payload and that is not JSON, the conditions need more work than [Limits].Work allows,
// or a `when` cannot be evaluated. An empty payload has no fields.
func (m *Matcher) Match(s *Subject) (bool, error) {
	if m.program == nil {
		return true, nil
	}
	s.begin(m.work)
	if m.when != nil {
		s.name()
	}
	out, err := s.machine.Run(m.program, s)
	if m.when != nil {
		s.unname()
	}
	switch {
	case s.bad:
		return false, notJSON(s.fault, "a condition looks into it")
	case s.work < 0:
		return false, fault.Permanent(fmt.Errorf("conditions cost too much on a payload of %d bytes; make them simpler, or the payload smaller", len(s.event.Payload)))
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
	return "when: " + m.when.text, nil
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

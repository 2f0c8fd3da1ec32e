package middleware

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"

	"github.com/bento-outbox/watermill-outbox/middleware/internal/jsontext"
)

// MatchConfig says which events match.
type MatchConfig struct {
	// Conditions are JSON in MongoDB's query language; empty matches every event. See [Match].
	Conditions string
	// When is an expr expression that must hold as well; empty means none. See [Match].
	When string
	// Limits bound both. The zero value means the defaults.
	Limits Limits
	// Pointer is put in front of the JSON pointers of faults, which go on with /conditions and /when when it is not empty.
	Pointer string
}

// Matcher is a compiled [MatchConfig]: one expr program that calls the operators. It is immutable and safe for concurrent use.
type Matcher struct {
	conditions allOf
	leaves     []*leaf
	work       int // what they may cost on one event
	when       *whenExpr
	program    *vm.Program // nil when everything matches
}

// NewMatcher compiles cfg. The error is an [InvalidError] with all the faults.
func NewMatcher(cfg MatchConfig) (*Matcher, error) {
	c := &compiler{limits: cfg.Limits.withDefaults()}
	m := &Matcher{work: c.limits.Work}
	conditionsAt, whenAt := "", ""
	if cfg.Pointer != "" {
		conditionsAt, whenAt = cfg.Pointer+"/conditions", cfg.Pointer+"/when"
	}
	if text := strings.TrimSpace(cfg.Conditions); text != "" {
		if at := jsontext.Check(text); at >= 0 {
			c.add(conditionsAt, "is not JSON at byte %d", at)
		} else {
			m.conditions, _ = c.query(jsontext.Trim(text), conditionsAt, 0, false).(allOf)
		}
	}
	if cfg.When != "" {
		var err error
		if m.when, err = checkWhen(cfg.When, c.limits); err != nil {
			c.add(whenAt, "%s", err)
		}
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	return m, m.compile()
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
	options := []expr.Option{expr.Env(&subject{}), expr.AsBool(), expr.MaxNodes(0), expr.DisableBuiltin("now")}
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
	s := params[0].(*subject)
	met := m.leaves[params[1].(int)].eval(s, value{})
	if s.bad || s.work < 0 {
		return nil, errStopped
	}
	return met, nil
}

var (
	errNotJSON = errors.New("payload is not JSON")
	errStopped = errors.New("stopped") // the subject says why
)

// runner is a machine for programs, with the event that it looks at. A machine serves one program at a time.
type runner struct {
	vm      vm.VM
	subject subject
	doc     jsontext.Document // of an event that is not opened
}

var runners = sync.Pool{New: func() any { return &runner{vm: vm.VM{MemoryBudget: whenMemory}} }}

// Match tells whether e matches. It does not modify e.
//
// The error is permanent: a condition looks into the payload and that is not JSON, the conditions need more work than [Limits].Work allows,
// or a `when` cannot be evaluated. An empty payload has no fields.
func (m *Matcher) Match(e *Event) (bool, error) {
	if m.program == nil {
		return true, nil
	}
	r := runners.Get().(*runner)
	s := &r.subject
	s.event, s.doc, s.work = *e, &r.doc, m.work
	if m.when != nil {
		s.name()
	}
	out, err := r.vm.Run(m.program, s)
	fault := s.failure()
	if s.doc == &r.doc {
		r.doc.Clear()
	}
	if m.when != nil {
		*s = subject{}
	} else {
		s.event, s.doc, s.opened, s.bad = Event{}, nil, false, false
	}
	runners.Put(r)
	switch {
	case fault != nil:
		return false, fault
	case err != nil:
		return false, Permanent(fmt.Errorf("when cannot be evaluated: %w", safeExprError(err)))
	}
	met, _ := out.(bool)
	return met, nil
}

// failure returns why the conditions stopped, or nil.
func (s *subject) failure() error {
	switch {
	case s.bad:
		return Permanent(fmt.Errorf("%w at byte %d, and a condition looks into it", errNotJSON, s.fault))
	case s.work < 0:
		return Permanent(fmt.Errorf("conditions cost too much on a payload of %d bytes; make them simpler, or the payload smaller", len(s.event.Payload)))
	}
	return nil
}

// Failing returns the first condition that e does not meet, as the author wrote it, or "" when e matches. It says what
// [Matcher.Match] says and costs more.
func (m *Matcher) Failing(e *Event) (string, error) {
	met, err := m.Match(e)
	if met || err != nil {
		return "", err
	}
	s := &subject{event: *e, doc: new(jsontext.Document), work: m.work}
	for _, n := range m.conditions {
		if text := failing(n, s); text != "" {
			return text, nil
		}
	}
	return "when: " + m.when.text, nil
}

func failing(n node, s *subject) string {
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

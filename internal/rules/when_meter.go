package rules

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm/runtime"
)

// expr cannot be interrupted, and its memory budget counts only elements of arrays. A `when` is therefore rewritten before it is compiled: every
// operation whose cost depends on its values goes through a function in this file that first takes the cost from the work of the event.
// Functions whose result can be much longer than their arguments are not available.

const (
	costOfNode    = 64 // of the syntax tree, for each element that a predicate is asked about
	costPerByte   = 4  // of a text that a function reads
	costPerPart   = 32 // a text that is split
	costPerMember = 64 // an element or member of a value that an operator or function reads
)

// whenFunctions are the functions that a `when` may call, and how many of their arguments must be literals, counted from the end.
var whenFunctions = map[string]int{
	"all": 0, "none": 0, "any": 0, "one": 0, "filter": 0, "map": 0, "find": 0, "findIndex": 0, "findLast": 0, "findLastIndex": 0, "count": 0,
	"sum": 0, "reduce": 0, "len": 0, "type": 0, "abs": 0, "ceil": 0, "floor": 0, "round": 0, "int": 0, "float": 0, "string": 0, "trim": 0,
	"trimPrefix": 0, "trimSuffix": 0, "upper": 0, "lower": 0, "split": 0, "indexOf": 0, "lastIndexOf": 0, "hasPrefix": 0, "hasSuffix": 0,
	"max": 0, "min": 0, "mean": 0, "duration": 0, "date": 1, "first": 0, "last": 0, "get": 0, "take": 0, "keys": 0, "values": 0, "reverse": 0,
}

// whenMeter is the visitor that rewrites.
type whenMeter struct {
	code *whenCode
	err  error
}

func (m *whenMeter) Visit(n *ast.Node) {
	switch node := (*n).(type) {
	case *ast.PredicateNode:
		counted := nodeCounter(0)
		ast.Walk(&node.Node, &counted)
		node.Node = metered("$step", node.Node, int(counted)*costOfNode)
	case *ast.BinaryNode:
		m.binary(n, node)
	case *ast.BuiltinNode:
		m.builtin(node)
	case *ast.CallNode:
		if callee, ok := node.Callee.(*ast.IdentifierNode); ok && callee.Value[0] == '$' {
			return
		}
		m.measureAll(node.Arguments, costPerByte)
	case *ast.MemberNode:
		if !literal(node.Property) {
			node.Property = metered("$cost", node.Property, costPerByte)
		}
	}
}

func (m *whenMeter) binary(n *ast.Node, node *ast.BinaryNode) {
	switch node.Operator {
	case "+":
		if !scalar(node.Left) && !scalar(node.Right) && (!literal(node.Left) || !literal(node.Right)) {
			ast.Patch(n, call("$add", node.Left, node.Right))
		}
	case "==", "!=", "<", "<=", ">", ">=":
		if !cheap(node.Left) && !cheap(node.Right) {
			node.Left = metered("$cost", node.Left, costPerByte)
		}
	case "in":
		if right, ok := node.Right.(*ast.BinaryNode); !ok || right.Operator != ".." {
			node.Right = metered("$cost", node.Right, costPerByte)
		}
	case "contains", "startsWith", "endsWith":
		m.measure(&node.Left, costPerByte)
		m.measure(&node.Right, costPerByte)
	case "matches":
		pattern, ok := node.Right.(*ast.StringNode)
		if !ok {
			m.fail("the pattern of matches must be a text, not an expression")
			return
		}
		re, size, err := compileRegex(pattern.Value, "")
		if err != nil {
			m.fail("%s", err)
			return
		}
		m.code.patterns = append(m.code.patterns, whenPattern{re, size})
		ast.Patch(n, call("$matches", node.Left, &ast.IntegerNode{Value: len(m.code.patterns) - 1}))
	}
}

func (m *whenMeter) builtin(node *ast.BuiltinNode) {
	literals, known := whenFunctions[node.Name]
	if !known {
		m.fail("function %s is not available here", node.Name)
		return
	}
	if literals > 0 && len(node.Arguments) > 1 && slices.ContainsFunc(node.Arguments[1:], func(a ast.Node) bool { return !literal(a) }) {
		m.fail("all arguments of %s but the first must be texts, not expressions", node.Name)
		return
	}
	perByte := costPerByte
	if node.Name == "split" {
		perByte = costPerPart
	}
	m.measureAll(node.Arguments, perByte)
}

func (m *whenMeter) fail(format string, args ...any) {
	if m.err == nil {
		m.err = fmt.Errorf(format, args...)
	}
}

func (m *whenMeter) measureAll(nodes []ast.Node, perByte int) {
	for i := range nodes {
		m.measure(&nodes[i], perByte)
	}
}

// measure has the value of n measured, unless it is a predicate or known to be small.
func (m *whenMeter) measure(n *ast.Node, perByte int) {
	if _, predicate := (*n).(*ast.PredicateNode); !predicate && !literal(*n) && !scalar(*n) {
		*n = metered("$cost", *n, perByte)
	}
}

// cheap reports whether reading the value of n costs next to nothing, or was paid for when the value was made.
func cheap(n ast.Node) bool {
	if c, ok := n.(*ast.CallNode); ok {
		callee, ok := c.Callee.(*ast.IdentifierNode)
		return ok && callee.Value == "$payload"
	}
	return literal(n) || scalar(n)
}

func literal(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.NilNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.StringNode:
		return true
	case *ast.UnaryNode:
		return literal(n.Node)
	}
	return false
}

// scalar reports whether n is a number or a boolean for certain.
func scalar(n ast.Node) bool {
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NilNode:
		return true
	}
	t := n.Type()
	if t == nil {
		return false
	}
	switch t.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int64, reflect.Float64:
		return true
	}
	return false
}

func call(name string, arguments ...ast.Node) ast.Node {
	return &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: append([]ast.Node{&ast.IdentifierNode{Value: "$env"}}, arguments...)}
}

func metered(name string, n ast.Node, cost int) ast.Node {
	c := call(name, n, &ast.IntegerNode{Value: cost})
	c.SetLocation(n.Location())
	return c
}

type nodeCounter int

func (c *nodeCounter) Visit(*ast.Node) { *c++ }

type whenPattern struct {
	re   *regexp.Regexp
	size int
}

// step spends the cost of one call of a predicate and returns its result.
func step(params ...any) (any, error) {
	if !params[0].(*Subject).spend(params[2].(int)) {
		return nil, errStopped
	}
	return params[1], nil
}

// cost spends the cost of reading a whole value and returns the value.
func cost(params ...any) (any, error) {
	if !params[0].(*Subject).measure(params[1], params[2].(int)) {
		return nil, errStopped
	}
	return params[1], nil
}

// measure spends what reading v as a whole costs.
func (s *Subject) measure(v any, perByte int) bool {
	switch v := v.(type) {
	case nil, bool, int, float64:
		return true
	case string:
		return s.spend(perByte * len(v))
	case []any:
		for _, elem := range v {
			if !s.spend(costPerMember) || !s.measure(elem, perByte) {
				return false
			}
		}
	case map[string]any:
		for name, elem := range v {
			if !s.spend(costPerMember+perByte*len(name)) || !s.measure(elem, perByte) {
				return false
			}
		}
	default:
		r := reflect.ValueOf(v)
		switch r.Kind() {
		case reflect.Map:
			for it := r.MapRange(); it.Next(); {
				if !s.spend(costPerMember) || !s.measure(it.Key().Interface(), perByte) || !s.measure(it.Value().Interface(), perByte) {
					return false
				}
			}
		case reflect.Slice:
			for i := range r.Len() {
				if !s.spend(costPerMember) || !s.measure(r.Index(i).Interface(), perByte) {
					return false
				}
			}
		}
	}
	return true
}

// add is + of what may be texts.
func add(params ...any) (any, error) {
	a, isText := params[1].(string)
	b, areTexts := params[2].(string)
	if isText && areTexts && !params[0].(*Subject).spend(costPerByte*(len(a)+len(b))) {
		return nil, errStopped
	}
	return runtime.Add(params[1], params[2]), nil
}

// matches is the operator of that name, with pattern number params[2].
func (w *whenCode) matches(params ...any) (any, error) {
	if params[1] == nil {
		return false, nil
	}
	text, ok := params[1].(string)
	if !ok {
		return nil, fmt.Errorf("invalid operation: %T matches a pattern", params[1])
	}
	p := &w.patterns[params[2].(int)]
	if !params[0].(*Subject).spend(costOfInstruction * p.size * len(text)) {
		return nil, errStopped
	}
	return p.re.MatchString(text), nil
}

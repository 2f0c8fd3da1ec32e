package rules

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"

	"github.com/bento-outbox/watermill-outbox/internal/rules/jsontext"
)

const (
	whenMemory  = 100_000 // values that one run may make
	whenNodes   = 200     // of the syntax tree
	whenDepth   = 64      // levels of a payload that are decoded
	whenNesting = 2       // predicates such as those of all, filter and map, one inside another

	costOfDecoded = 128 // value of a payload that is turned into a Go value
)

// whenCode has the payload paths and patterns that the program of a `when` refers to by number.
type whenCode struct {
	paths    [][]segment
	patterns []whenPattern
}

// compileWhen compiles a program that evaluates text, and calls the conditions first when it is conditional.
func compileWhen(text string, conditional bool, maxLength int) (*vm.Program, error) {
	if len(text) > maxLength {
		return nil, fmt.Errorf("expression is longer than %d bytes", maxLength)
	}
	code, nodes := &whenCode{}, nodeCounter(0)
	patcher, meter, root := &whenPatcher{code: code}, &whenMeter{code: code}, &whenRoot{nodes: &nodes, conditional: conditional}
	// The functions return any: expr does not check the arguments of a call again whose type is known from a visitor's pass.
	program, err := expr.Compile(text,
		expr.Env(&Subject{}), expr.MaxNodes(whenNodes), expr.DisableBuiltin("now"),
		expr.Patch(patcher), expr.Patch(meter), expr.Patch(&nodes), expr.Patch(root),
		expr.Function("$step", step, new(func(any, any, int) any)),
		expr.Function("$cost", cost, new(func(any, any, int) any)),
		expr.Function("$add", add, new(func(any, any, any) any)),
		expr.Function("$matches", code.matches, new(func(any, any, int) any)),
		expr.Function("$payload", code.read, new(func(any, int) any)),
		expr.Function("$bool", truth, new(func(any) any)))
	switch {
	case patcher.err != nil:
		return nil, patcher.err
	case meter.err != nil:
		return nil, meter.err
	case err != nil:
		return nil, fmt.Errorf("expression does not compile: %w", oneLine(err))
	case root.err != nil:
		return nil, root.err
	}
	if deepest := nesting(program.Node()); deepest > whenNesting {
		return nil, fmt.Errorf("predicates are nested %d deep, more than %d", deepest, whenNesting)
	}
	return program, nil
}

// whenRoot is a visitor that makes a boolean of the whole expression, behind the call of the conditions. It visits that node last: nodes
// counts how many there are.
type whenRoot struct {
	nodes       *nodeCounter
	conditional bool
	err         error
}

func (r *whenRoot) Visit(n *ast.Node) {
	if *r.nodes--; *r.nodes > 0 {
		return
	}
	if t := (*n).Type(); t != nil && t.Kind() != reflect.Bool && t.Kind() != reflect.Interface {
		r.err = fmt.Errorf("expression gives a value of type %s, not true or false", t)
	}
	var result ast.Node = &ast.CallNode{Callee: &ast.IdentifierNode{Value: "$bool"}, Arguments: []ast.Node{*n}}
	result.SetLocation((*n).Location())
	if r.conditional {
		conditions := &ast.CallNode{Callee: &ast.IdentifierNode{Value: "$conditions"}}
		result = &ast.BinaryNode{Operator: "&&", Left: conditions, Right: result}
	}
	ast.Patch(n, result)
}

// whenPatcher is a visitor that turns payload.a.b into one lookup of that path, so that the rest of the payload is not decoded. A missing
// field, at any depth, is nil. It refuses names that start with a dollar sign, which are ours.
type whenPatcher struct {
	code *whenCode
	err  error
}

func (p *whenPatcher) Visit(n *ast.Node) {
	switch node := (*n).(type) {
	case *ast.IdentifierNode:
		switch {
		case node.Value == "payload":
			ast.Patch(n, p.lookup(nil))
		case strings.HasPrefix(node.Value, "$"):
			p.err = fmt.Errorf("unknown name %s", node.Value)
		}
	case *ast.MemberNode:
		call, ok := node.Node.(*ast.CallNode)
		if !ok || node.Method {
			return
		}
		if callee, ok := call.Callee.(*ast.IdentifierNode); !ok || callee.Value != "$payload" {
			return
		}
		index := call.Arguments[1].(*ast.IntegerNode).Value
		parent := p.code.paths[index]
		switch property := node.Property.(type) {
		case *ast.StringNode:
			ast.Patch(n, p.lookup(append(parent[:len(parent):len(parent)], segment{property.Value, -1})))
		case *ast.IntegerNode:
			if property.Value >= 0 {
				ast.Patch(n, p.lookup(append(parent[:len(parent):len(parent)], segment{"", property.Value})))
			}
		}
	}
}

func (p *whenPatcher) lookup(path []segment) ast.Node {
	p.code.paths = append(p.code.paths, path)
	return &ast.CallNode{
		Callee:    &ast.IdentifierNode{Value: "$payload"},
		Arguments: []ast.Node{&ast.IdentifierNode{Value: "$env"}, &ast.IntegerNode{Value: len(p.code.paths) - 1}},
	}
}

// read returns the value at a path of the payload, decoded.
func (w *whenCode) read(params ...any) (any, error) {
	s := params[0].(*Subject)
	path := w.paths[params[1].(int)]
	var v value
	if d := s.payload(); d != nil {
		v = jsonValue(d.Root())
	}
	if s.bad {
		return nil, errStopped
	}
	for i, seg := range path {
		switch {
		case v.kind == kindObject && seg.name != "" && i == 0:
			v = s.rootField(&s.doc, seg.name)
		case v.kind == kindObject && seg.name != "":
			v = s.field(v, seg.name)
		case v.kind == kindArray && seg.name == "":
			v = s.element(v, seg.index)
		default:
			v = value{}
		}
	}
	out := s.decode(v, whenDepth)
	if s.work < 0 {
		return nil, errStopped
	}
	return out, nil
}

// decode returns the Go value of v. An integer that fits into 64 bits is an int, any other number a float64. Of duplicate
// keys the first counts, as everywhere. Values nested deeper than depth are nil.
func (s *Subject) decode(v value, depth int) any {
	if depth == 0 || !s.spend(costOfDecoded) {
		return nil
	}
	switch v.kind {
	case kindBool:
		return v.raw == "true"
	case kindNumber:
		if n, err := strconv.Atoi(v.raw); err == nil {
			return n
		}
		s.work -= len(v.raw)
		f, _ := strconv.ParseFloat(v.raw, 64)
		return f
	case kindString:
		if !s.spend(costOfText(v)) {
			return nil
		}
		return v.str()
	case kindArray:
		list := []any{}
		for it := s.elements(v); s.next(&it); {
			list = append(list, s.decode(jsonValue(it.Value), depth-1))
		}
		return list
	case kindObject:
		object := map[string]any{}
		for it := jsontext.Members(s.affordable(v.raw)); s.next(&it); {
			name := jsontext.Unquote(it.Key)
			if _, twice := object[name]; !twice {
				object[name] = s.decode(jsonValue(it.Value), depth-1)
			}
		}
		return object
	}
	return nil
}

// truth returns the result of a `when` as a boolean: nil, the value of a missing field, is false.
func truth(params ...any) (any, error) {
	switch v := params[0].(type) {
	case bool:
		return v, nil
	case nil:
		return false, nil
	default:
		return nil, fmt.Errorf("invalid operation: expression gave %T, not true or false", v)
	}
}

// nesting returns how deep predicates are nested.
func nesting(n ast.Node) int {
	found := &predicates{}
	ast.Walk(&n, found)
	deepest := 0
	for _, p := range found.nodes {
		deepest = max(deepest, 1+nesting(p.Node))
	}
	return deepest
}

// predicates is a visitor that collects what all, filter, map and the like call for every element.
type predicates struct{ nodes []*ast.PredicateNode }

func (p *predicates) Visit(n *ast.Node) {
	if node, ok := (*n).(*ast.PredicateNode); ok {
		p.nodes = append(p.nodes, node)
	}
}

// safeExprError returns the error of a run without values of the payload.
func safeExprError(err error) error {
	var at *file.Error
	if !errors.As(err, &at) {
		return errors.New("unknown fault")
	}
	text := at.Message
	if !strings.HasPrefix(text, "invalid operation: ") && text != "memory budget exceeded" || strings.ContainsAny(text, "\"`(") {
		text = "a value does not fit"
	}
	return fmt.Errorf("%s (line %d, column %d)", text, at.Line, at.Column+1)
}

// oneLine drops the drawing that expr adds to its errors.
func oneLine(err error) error {
	var at *file.Error
	if !errors.As(err, &at) {
		return err
	}
	return fmt.Errorf("%s (line %d, column %d)", at.Message, at.Line, at.Column+1)
}

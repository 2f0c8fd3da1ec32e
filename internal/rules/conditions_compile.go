package rules

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/rules/jsontext"
)

var (
	// fieldOperators belong below a path.
	fieldOperators = []string{"$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$not", "$regex",
		"$options", "$all", "$elemMatch", "$size"}
	// logicalOperators belong beside paths.
	logicalOperators = []string{"$and", "$or", "$nor"}
	allOperators     = slices.Concat(fieldOperators, logicalOperators)
)

// query compiles an object of paths and logical operators. Inside $elemMatch paths start at the element.
func (c *Compiler) query(raw, pointer string, depth int, inElement bool) node {
	if !c.count(pointer, depth) {
		return allOf(nil)
	}
	if k := jsontext.KindOf(raw); k != jsontext.Object {
		c.Add(pointer, "must be an object of conditions, not %s", k)
		return allOf(nil)
	}
	var nodes allOf
	c.members(raw, pointer, func(key, val, at string) {
		if !strings.HasPrefix(key, "$") {
			nodes = append(nodes, c.condition(key, val, at, depth, inElement)...)
			return
		}
		switch key {
		case "$and":
			nodes = append(nodes, allOf(c.queries(key, val, at, depth, inElement)))
		case "$or":
			nodes = append(nodes, anyOf{c.queries(key, val, at, depth, inElement), key + ": " + val})
		case "$nor":
			or := anyOf{c.queries(key, val, at, depth, inElement), key + ": " + val}
			nodes = append(nodes, negation{or, or.text})
		default:
			if slices.Contains(fieldOperators, key) {
				c.Add(at, `%s belongs below a path, as in {"payload.price": {%q: ...}}`, key, key)
			} else {
				c.Add(at, "unknown operator %s%s", key, didYouMean(key, allOperators))
			}
		}
	})
	return nodes
}

// queries compiles the array of a logical operator.
func (c *Compiler) queries(op, raw, pointer string, depth int, inElement bool) []node {
	if k := jsontext.KindOf(raw); k != jsontext.Array {
		c.Add(pointer, "%s needs an array of conditions, not %s", op, k)
		return nil
	}
	var nodes []node
	add := func(val, at string) { nodes = append(nodes, c.query(val, at, depth+1, inElement)) }
	if c.elements(raw, pointer, add) == 0 && !c.full {
		c.Add(pointer, "%s needs at least one condition", op)
	}
	return nodes
}

// condition compiles the value or operators below one path.
func (c *Compiler) condition(text, raw, pointer string, depth int, inElement bool) allOf {
	p := path{text: text, root: rootElement}
	var err error
	if inElement {
		p.segments, err = splitPath(text, c.limits.PathLength)
	} else {
		p, err = parsePath(text, c.limits.PathLength)
	}
	if err != nil {
		c.Add(pointer, "%s", err)
	}
	if isOperators(raw) {
		return c.operators(p, raw, pointer, depth+1)
	}
	for it := jsontext.Members(raw); it.Next(); {
		if key := jsontext.Unquote(it.Key); slices.Contains(allOperators, key) {
			c.Add(Pointer(pointer, key), "operators and fields are mixed: %s is an operator", key)
		}
	}
	return allOf{c.equality(p, "$eq", raw, pointer, depth+1)}
}

// isOperators reports whether raw is an object whose first key is an operator.
func isOperators(raw string) bool {
	it := jsontext.Members(raw)
	return it.Next() && strings.HasPrefix(jsontext.Unquote(it.Key), "$")
}

// operators compiles an object of operators on p, which all must hold.
func (c *Compiler) operators(p path, raw, pointer string, depth int) allOf {
	if !c.count(pointer, depth) {
		return nil
	}
	var nodes allOf
	regex, options := "", ""
	c.members(raw, pointer, func(op, val, at string) {
		switch op {
		case "$eq", "$ne":
			nodes = append(nodes, c.equality(p, op, val, at, depth+1))
		case "$gt", "$gte", "$lt", "$lte":
			l := &leaf{path: p, op: op, operand: val}
			operand := c.operand(p, val, at, depth+1, &l.numeric)
			l.test = order{operand, op[1] == 'l', strings.HasSuffix(op, "e")}
			nodes = append(nodes, l)
		case "$in", "$nin":
			nodes = append(nodes, c.membership(p, op, val, at, depth+1))
		case "$exists":
			if jsontext.KindOf(val) != jsontext.Bool {
				c.Add(at, "$exists needs true or false, not %s", jsontext.KindOf(val))
			}
			nodes = append(nodes, &leaf{path: p, op: op, operand: val, test: existence(true), negated: val == "false"})
		case "$not":
			if !isOperators(val) {
				c.Add(at, `$not needs an object of operators, as in {"$not": {"$gt": 5}}`)
				return
			}
			nodes = append(nodes, negation{c.operators(p, val, at, depth+1), p.text + ": {" + `"$not":` + val + "}"})
		case "$regex":
			regex = val
			c.count(at, depth+1)
		case "$options":
			options = val
			c.count(at, depth+1)
		case "$all":
			nodes = append(nodes, c.all(p, val, at, depth+1))
		case "$elemMatch":
			nodes = append(nodes, c.elemMatch(p, val, at, depth+1))
		case "$size":
			nodes = append(nodes, c.size(p, val, at))
		default:
			switch {
			case slices.Contains(logicalOperators, op):
				c.Add(at, "%s belongs beside paths, not below one", op)
			case strings.HasPrefix(op, "$"):
				c.Add(at, "unknown operator %s%s", op, didYouMean(op, allOperators))
			default:
				c.Add(at, "operators and fields are mixed: %s is no operator", op)
			}
		}
	})
	if regex != "" || options != "" {
		nodes = append(nodes, c.regex(p, regex, options, pointer))
	}
	if p.root == rootOccurredAt {
		for _, n := range nodes {
			if l, ok := n.(*leaf); ok && slices.Contains([]string{"$regex", "$size", "$elemMatch", "$all"}, l.op) {
				c.Add(Pointer(pointer, l.op), "occurred_at is a time, which %s cannot match", l.op)
			}
		}
	}
	return nodes
}

func (c *Compiler) equality(p path, op, raw, pointer string, depth int) node {
	l := &leaf{path: p, op: op, operand: raw, negated: op == "$ne"}
	l.test = equality{c.operand(p, raw, pointer, depth, &l.numeric)}
	return l
}

func (c *Compiler) membership(p path, op, raw, pointer string, depth int) node {
	l := &leaf{path: p, op: op, operand: raw, negated: op == "$nin"}
	t := membership{}
	c.list(op, raw, pointer, func(val, at string) {
		if isOperators(val) {
			c.Add(at, "operators do not go inside %s", op)
			return
		}
		switch operand := c.operand(p, val, at, depth+1, &l.numeric); operand.kind {
		case kindNull:
			t.null = true
		case kindString:
			if t.texts == nil {
				t.texts = make(map[string]bool)
			}
			t.texts[operand.raw] = true
		default:
			t.others = append(t.others, operand)
		}
	})
	l.test = t
	return l
}

func (c *Compiler) all(p path, raw, pointer string, depth int) node {
	var nodes allOf
	elements, plain := 0, 0
	c.list("$all", raw, pointer, func(val, at string) {
		if !isOperators(val) {
			plain++
			nodes = append(nodes, c.equality(p, "$all", val, at, depth+1))
			return
		}
		elements++
		it := jsontext.Members(val)
		if it.Next(); !jsontext.Is(it.Key, "$elemMatch") || it.Next() {
			c.Add(at, "$all takes values, or objects with $elemMatch alone")
			return
		}
		inner, _ := jsontext.Field(val, "$elemMatch")
		nodes = append(nodes, c.elemMatch(p, inner, Pointer(at, "$elemMatch"), depth+1))
	})
	if elements > 0 && plain > 0 {
		c.Add(pointer, "$all takes either values or $elemMatch, not both")
	}
	if len(nodes) == 0 {
		return anyOf{text: p.text + `: {"$all":[]}`}
	}
	return nodes
}

func (c *Compiler) elemMatch(p path, raw, pointer string, depth int) node {
	l := &leaf{path: p, op: "$elemMatch", operand: raw, whole: true}
	it := jsontext.Members(raw)
	operators := it.Next() && strings.HasPrefix(jsontext.Unquote(it.Key), "$") &&
		!slices.Contains(logicalOperators, jsontext.Unquote(it.Key))
	switch {
	case jsontext.KindOf(raw) != jsontext.Object:
		c.Add(pointer, "$elemMatch needs an object of conditions or operators, not %s", jsontext.KindOf(raw))
	case operators:
		l.test = element{node: c.operators(path{text: "element", root: rootElement}, raw, pointer, depth+1)}
	default:
		l.test = element{node: c.query(raw, pointer, depth+1, true), object: true}
	}
	return l
}

func (c *Compiler) size(p path, raw, pointer string) node {
	n, err := strconv.ParseFloat(raw, 64)
	if err != nil || n < 0 || n != math.Trunc(n) || n > math.MaxInt32 {
		c.Add(pointer, "$size needs a whole number from 0 on")
		n = 0
	}
	c.nodes++
	return &leaf{path: p, op: "$size", operand: raw, test: length(int(n)), whole: true}
}

// operand compiles a value that a path is compared with.
func (c *Compiler) operand(p path, raw, pointer string, depth int, numeric *bool) value {
	c.literal(raw, pointer, depth)
	v := jsonValue(raw)
	if v.kind == kindString {
		v = value{kind: kindString, text: true, raw: jsontext.Unquote(raw)}
	}
	switch {
	case p.root == rootSchemaVersion && v.kind == kindNumber:
		*numeric = true
	case p.root == rootOccurredAt && v.kind != kindNull:
		t, err := instant(v)
		if err != nil {
			c.Add(pointer, "%s", err)
		}
		v = value{kind: kindTime, time: &t}
	}
	return v
}

func instant(v value) (time.Time, error) {
	if v.kind == kindString {
		for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
			if t, err := time.Parse(layout, v.raw); err == nil {
				return t, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf(`occurred_at is compared with a time such as "2025-01-31T12:00:00Z" or "2025-01-31"`)
}

// list calls f for every element of raw, which must be an array.
func (c *Compiler) list(op, raw, pointer string, f func(val, at string)) {
	if !c.count(pointer, 0) {
		return
	}
	if k := jsontext.KindOf(raw); k != jsontext.Array {
		c.Add(pointer, "%s needs an array, not %s", op, k)
		return
	}
	c.elements(raw, pointer, f)
}

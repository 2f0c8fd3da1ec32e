package rules

import (
	"fmt"

	"github.com/bento-outbox/watermill-outbox/internal/rules/jsontext"
)

// how is what an edit does with the fields that a tree names.
type how uint8

const (
	include how = iota // keep them alone
	exclude            // remove them
	rename             // give them the names in the tree
	set                // give them the values in the tree
)

// edit returns raw, which is valid JSON, with the fields that t names edited. An empty tree edits nothing.
func (x *result) edit(raw string, t *tree, h how) string {
	if len(t.children) == 0 {
		return raw
	}
	size := len(raw) + 64
	if h == include {
		size = min(size, 64<<10) // most of it is left out
	}
	x.begin(size)
	editor{x, h}.value(raw, "payload", t)
	return x.out.String()
}

type editor struct {
	*result
	how how
}

// value writes raw, edited by t when there is one. When raw is set it may be missing, and name is what errors call it.
func (e editor) value(raw, name string, t *tree) {
	switch k := jsontext.KindOf(raw); {
	case t == nil:
		e.write(raw)
	case t.leaf && e.how == set:
		e.write(t.value)
	case t.leaf:
		e.write(raw)
	case k == jsontext.Object:
		e.object(raw, t)
	case k == jsontext.Array:
		e.array(raw, t)
	case e.how != set:
		e.write(raw)
	case k == jsontext.Null || k == jsontext.Invalid:
		e.object("{}", t)
	case e.err == nil:
		e.err = fmt.Errorf("%q is %s and cannot hold the field %q", name, k, t.children[0].name)
	}
}

// drops reports whether the value raw, which t belongs to when there is one, is left out.
func (e editor) drops(raw string, t *tree) bool {
	switch e.how {
	case include:
		return t == nil || !t.leaf && !isContainer(raw)
	case exclude:
		return t != nil && t.leaf
	}
	return false
}

func (e editor) object(raw string, t *tree) {
	if !e.spend(len(raw)) {
		return
	}
	var replaced map[string]bool // names that make way for renamed fields
	var there map[*tree]bool     // fields that need not be added
	switch e.how {
	case rename:
		e.spend(len(raw) + 4*costOfBranch)
		replaced = t.replaced(raw)
	case set:
		if !e.spend(costOfBranch * len(t.children)) {
			return
		}
		there = make(map[*tree]bool, len(t.children))
	}
	it, separator, after, dropped := jsontext.Members(raw), "{", "", false
	for e.spend(costOfStep) && it.Next() {
		child, key, name := t.of(it.Key), it.Key, ""
		if e.drops(it.Value, child) || child == nil && replaced[jsontext.Unquote(it.Key)] {
			dropped = true
			continue
		}
		switch {
		case child == nil:
		case e.how == rename && child.leaf:
			e.spend(2 * len(child.value))
			key = jsontext.Quote(child.value)
		case e.how == set:
			there[child], name = true, jsontext.Unquote(it.Key)
		}
		e.write(after)
		e.write(separator)
		e.write(it.Before)
		e.write(key)
		e.write(it.Between)
		e.value(it.Value, name, child)
		separator, after = ",", it.After
	}
	if e.how == set {
		for _, b := range t.children {
			if there[b.tree] {
				continue
			}
			e.write(separator)
			e.write(jsontext.Quote(b.name))
			e.write(":")
			e.value("", b.name, b.tree)
			separator = ","
		}
	}
	e.write(after)
	e.close(separator, dropped, raw, "{}")
}

// array edits elements by their index, and fields in those that are objects. It adds no elements.
func (e editor) array(raw string, t *tree) {
	if !e.spend(len(raw)) {
		return
	}
	it, separator, dropped := jsontext.Elements(raw), "[", false
	for n := 0; e.spend(costOfStep) && it.Next(); n++ {
		child := e.element(t, n, it.Value)
		if e.drops(it.Value, child) {
			dropped = true
			continue
		}
		e.write(separator)
		e.write(it.Before)
		e.value(it.Value, "element", child)
		e.write(it.After)
		separator = ","
	}
	e.close(separator, dropped, raw, "[]")
}

// close ends a container. One that was empty before keeps its white space.
func (e editor) close(separator string, dropped bool, raw, brackets string) {
	switch {
	case separator == ",":
		e.write(brackets[1:])
	case dropped:
		e.write(brackets)
	default:
		e.write(raw)
	}
}

func isContainer(raw string) bool {
	k := jsontext.KindOf(raw)
	return k == jsontext.Object || k == jsontext.Array
}

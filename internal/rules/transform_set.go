package rules

import (
	"fmt"

	"github.com/bento-outbox/watermill-outbox/internal/rules/jsontext"
)

// set returns raw, which is valid JSON, with the values of t at their paths.
func (x *result) set(raw string, t *tree) string {
	x.begin(len(raw) + 64)
	setter{x}.value(raw, "payload", t)
	return x.out.String()
}

type setter struct{ *result }

// value writes what becomes of raw, which is called name and may be missing.
func (s setter) value(raw, name string, t *tree) {
	if t == nil {
		s.write(raw)
		return
	}
	if t.leaf {
		s.write(t.value)
		return
	}
	switch k := jsontext.KindOf(raw); k {
	case jsontext.Object:
		s.object(raw, t)
	case jsontext.Array:
		s.array(raw, t)
	case jsontext.Null, jsontext.Invalid:
		s.object("{}", t)
	default:
		if s.err == nil {
			s.err = fmt.Errorf("%q is %s and cannot hold the field %q", name, k, t.children[0].name)
		}
	}
}

// object writes the members of raw, and at its end those that it lacks.
func (s setter) object(raw string, t *tree) {
	if !s.spend(len(raw) + costOfBranch*len(t.children)) {
		return
	}
	seen := make(map[*tree]bool, len(t.children))
	it, comma, after := jsontext.Members(raw), "{", ""
	for s.spend(costOfStep) && it.Next() {
		child := t.of(it.Key)
		seen[child] = true
		s.write(after)
		s.write(comma)
		s.write(it.Before)
		s.write(it.Key)
		s.write(it.Between)
		name := ""
		if child != nil {
			name = jsontext.Unquote(it.Key)
		}
		s.value(it.Value, name, child)
		comma, after = ",", it.After
	}
	for _, b := range t.children {
		if !seen[b.tree] {
			s.write(comma)
			s.write(jsontext.Quote(b.name))
			s.write(":")
			s.value("", b.name, b.tree)
			comma = ","
		}
	}
	s.write(after)
	s.write("}")
}

// array sets elements by their index, and fields in those that are objects. It makes no new elements.
func (s setter) array(raw string, t *tree) {
	if !s.spend(len(raw)) {
		return
	}
	it, comma := jsontext.Elements(raw), ""
	s.write("[")
	n := 0
	for ; s.spend(costOfStep) && it.Next(); n++ {
		s.write(comma)
		s.write(it.Before)
		s.value(it.Value, "element", s.element(t, n, it.Value))
		s.write(it.After)
		comma = ","
	}
	if n == 0 {
		s.write(it.Before)
	}
	s.write("]")
}

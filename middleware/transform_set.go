package middleware

import (
	"fmt"
	"strings"

	"github.com/bento-outbox/watermill-outbox/middleware/internal/jsontext"
)

// set returns raw, which is valid JSON, with the values of t at their paths.
func set(raw string, t *tree) (string, error) {
	s := setter{}
	s.out.Grow(len(raw) + 64)
	s.value(raw, "payload", t)
	return s.out.String(), s.err
}

type setter struct {
	out strings.Builder
	err error
}

// value writes what becomes of raw, which is called name and may be missing.
func (s *setter) value(raw, name string, t *tree) {
	if t == nil {
		s.out.WriteString(raw)
		return
	}
	if t.leaf {
		s.out.WriteString(t.value)
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
func (s *setter) object(raw string, t *tree) {
	seen := make(map[*tree]bool, len(t.children))
	it, comma, after := jsontext.Members(raw), "{", ""
	for it.Next() {
		child := t.of(it.Key)
		seen[child] = true
		s.out.WriteString(after)
		s.out.WriteString(comma)
		s.out.WriteString(it.Before)
		s.out.WriteString(it.Key)
		s.out.WriteString(it.Between)
		name := ""
		if child != nil {
			name = jsontext.Unquote(it.Key)
		}
		s.value(it.Value, name, child)
		comma, after = ",", it.After
	}
	for _, b := range t.children {
		if !seen[b.tree] {
			s.out.WriteString(comma)
			s.out.WriteString(jsontext.Quote(b.name))
			s.out.WriteString(":")
			s.value("", b.name, b.tree)
			comma = ","
		}
	}
	s.out.WriteString(after)
	s.out.WriteString("}")
}

// array sets elements by their index, and fields in those that are objects. It makes no new elements.
func (s *setter) array(raw string, t *tree) {
	it, comma := jsontext.Elements(raw), ""
	s.out.WriteString("[")
	n := 0
	for ; it.Next(); n++ {
		s.out.WriteString(comma)
		s.out.WriteString(it.Before)
		s.value(it.Value, "element", t.element(n, it.Value))
		s.out.WriteString(it.After)
		comma = ","
	}
	if n == 0 {
		s.out.WriteString(it.Before)
	}
	s.out.WriteString("]")
}

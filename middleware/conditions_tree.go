package middleware

import "github.com/bento-outbox/watermill-outbox/middleware/internal/jsontext"

// node is a compiled condition or a combination of them. It is immutable.
type node interface {
	// eval tells whether the condition is met by the event s, or, inside $elemMatch, by the array element elem.
	eval(s *subject, elem value) bool
}

type (
	allOf []node // true when empty
	anyOf struct {
		nodes []node
		text  string // as the author wrote it
	}
	negation struct {
		node node
		text string
	}
	// leaf is one operator on one path.
	leaf struct {
		path    path
		op      string
		operand string // its JSON
		test    test
		negated bool // of $ne and $nin
		whole   bool // an array is tested as a whole, not its elements as well
		numeric bool // schema_version is compared with a number
	}
)

func (n allOf) eval(s *subject, elem value) bool {
	for _, child := range n {
		if !child.eval(s, elem) {
			return false
		}
	}
	return true
}

func (n anyOf) eval(s *subject, elem value) bool {
	for _, child := range n.nodes {
		if child.eval(s, elem) {
			return true
		}
	}
	return false
}

func (n negation) eval(s *subject, elem value) bool { return !n.node.eval(s, elem) }

func (l *leaf) eval(s *subject, elem value) bool {
	return l.met(s, elem) != l.negated
}

func (l *leaf) met(s *subject, elem value) bool {
	if l.path.root == rootPayload && !s.spend(len(s.event.Payload)) || l.path.root == rootElement && !s.spend(len(elem.raw)) {
		return false
	}
	if l.path.root != rootElement {
		v := s.root(&l.path)
		if l.numeric && v.kind == kindString && jsontext.KindOf(v.raw) == jsontext.Number && jsontext.Check(v.raw) < 0 {
			return l.test.met(s, v) || l.test.met(s, value{kind: kindNumber, raw: v.raw})
		}
		return l.walk(s, v, 0)
	}
	switch {
	case len(l.path.segments) == 0:
		return l.test.met(s, elem)
	case elem.kind == kindArray:
		return l.walkNested(s, elem, 0)
	}
	return l.walk(s, elem, 0)
}

// walk follows the path from v on, whose next name is segment i, and tells whether any value it leads to passes the test.
// As in MongoDB, a name applied to an array is applied to those of its elements that are objects, and what a path ends in
// is tested element by element and as a whole when it is an array.
func (l *leaf) walk(s *subject, v value, i int) bool {
	for ; i < len(l.path.segments); i++ {
		switch v.kind {
		case kindObject:
			raw, fault := jsontext.Field(v.raw, l.path.segments[i].name)
			if fault >= 0 {
				return l.fail(s, fault)
			}
			v = jsonValue(raw)
		case kindArray:
			return l.walkArray(s, v, i)
		default:
			return l.test.met(s, value{})
		}
	}
	if v.kind != kindArray || l.whole {
		return l.test.met(s, v)
	}
	it := jsontext.Elements(v.raw)
	for it.Next() {
		if l.test.met(s, jsonValue(it.Value)) {
			return true
		}
	}
	return l.test.met(s, v)
}

// walkArray applies segment i to the array v: to its elements, and as an index. A name that is an index misses only when
// the array is too short; it is no miss that an element has no such field.
func (l *leaf) walkArray(s *subject, v value, i int) bool {
	seg, reached := l.path.segments[i], false
	it := jsontext.Elements(v.raw)
	for n := 0; it.Next(); n++ {
		elem := jsonValue(it.Value)
		if elem.kind == kindObject && (seg.index < 0 || hasField(elem.raw, seg.name)) && l.walk(s, elem, i) {
			return true
		}
		if n != seg.index {
			continue
		}
		reached = true
		switch {
		case i+1 == len(l.path.segments):
			if l.test.met(s, elem) {
				return true
			}
		case elem.kind == kindArray:
			if l.walkNested(s, elem, i+1) {
				return true
			}
		case l.walk(s, elem, i+1):
			return true
		}
	}
	if it.Fault() >= 0 {
		return l.fail(s, it.Fault())
	}
	return seg.index >= 0 && !reached && l.test.met(s, value{})
}

// walkNested applies segment i to an array that was reached by its index: it has indexes only, and its elements are not
// searched for the name.
func (l *leaf) walkNested(s *subject, v value, i int) bool {
	if l.path.segments[i].index < 0 {
		return l.test.met(s, value{})
	}
	raw, _ := jsontext.Element(v.raw, l.path.segments[i].index)
	return l.walk(s, jsonValue(raw), i+1)
}

// fail notes a fault in the payload. It is in its outermost array or object, since that was checked as far as the walk went
// inside it.
func (l *leaf) fail(s *subject, offset int) bool {
	s.broken(jsontext.Space(view(s.event.Payload)) + offset)
	return false
}

func hasField(object, name string) bool {
	raw, _ := jsontext.Field(object, name)
	return raw != ""
}

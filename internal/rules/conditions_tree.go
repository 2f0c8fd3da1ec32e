package rules

import "github.com/bento-outbox/watermill-outbox/internal/rules/jsontext"

// node is a compiled condition or a combination of them. It is immutable.
type node interface {
	// eval reports whether s, or, inside $elemMatch, the array element elem meets the condition.
	eval(s *Subject, elem value) bool
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

func (n allOf) eval(s *Subject, elem value) bool {
	for _, child := range n {
		if !child.eval(s, elem) {
			return false
		}
	}
	return true
}

func (n anyOf) eval(s *Subject, elem value) bool {
	for _, child := range n.nodes {
		if child.eval(s, elem) {
			return true
		}
	}
	return false
}

func (n negation) eval(s *Subject, elem value) bool { return !n.node.eval(s, elem) }

func (l *leaf) eval(s *Subject, elem value) bool {
	return l.met(s, elem) != l.negated
}

func (l *leaf) met(s *Subject, elem value) bool {
	if !s.spend(costOfStep) {
		return false
	}
	segments := l.path.segments
	switch l.path.root {
	case rootElement:
		switch {
		case len(segments) == 0:
			return l.test.met(s, elem)
		case elem.kind == kindArray:
			// $elemMatch takes the element for a document, so an array has fields named by its indexes.
			if segments[0].index < 0 {
				return l.test.met(s, value{})
			}
			return l.walk(s, s.element(elem, segments[0].index), 1)
		}
		return l.walk(s, elem, 0)
	case rootPayload:
		d := s.payload()
		switch {
		case d == nil:
			return !s.bad && l.test.met(s, value{})
		case len(segments) > 0 && jsontext.KindOf(d.Root()) == jsontext.Object:
			return l.walk(s, s.rootField(d, segments[0].name), 1)
		}
		return l.walk(s, jsonValue(d.Root()), 0)
	}
	v := s.root(&l.path)
	if l.numeric && v.kind == kindString && jsontext.KindOf(v.raw) == jsontext.Number && jsontext.Check(v.raw) < 0 {
		return l.test.met(s, v) || l.test.met(s, value{kind: kindNumber, raw: v.raw})
	}
	return l.walk(s, v, 0)
}

// walk follows the path from v on, beginning with segment i, and reports whether a value that it leads to passes the test. It follows the rules of
// MongoDB's server, up to version 8: an array at the end of the path is tested element by element and as a whole.
func (l *leaf) walk(s *Subject, v value, i int) bool {
	for ; i < len(l.path.segments); i++ {
		switch v.kind {
		case kindObject:
			v = s.field(v, l.path.segments[i].name)
		case kindArray:
			return l.walkArray(s, v, i)
		default:
			return l.test.met(s, value{})
		}
	}
	if v.kind == kindArray && !l.whole {
		for it := s.elements(v); s.next(&it); {
			if l.test.met(s, jsonValue(it.Value)) {
				return true
			}
		}
	}
	return l.test.met(s, v)
}

// walkArray applies segment i to the elements of the array v: as a name to those that are objects, and as an index. An object without the name
// has a missing value, which is tested; nothing else that leads nowhere is.
//
// An index behaves differently from a name. At the end of the path, its element is tested as a whole only. Before the end, an element that is an
// array is searched again, and a scalar leads nowhere.
func (l *leaf) walkArray(s *Subject, v value, i int) bool {
	seg, last := &l.path.segments[i], i+1 == len(l.path.segments)
	it := s.elements(v)
	for n := 0; s.next(&it); n++ {
		elem := jsonValue(it.Value)
		if elem.kind == kindObject && l.walk(s, elem, i) {
			return true
		}
		if n != seg.index {
			continue
		}
		switch {
		case last:
			if l.test.met(s, elem) {
				return true
			}
		case elem.kind == kindArray || elem.kind == kindObject:
			if l.walk(s, elem, i+1) {
				return true
			}
		}
	}
	return false
}

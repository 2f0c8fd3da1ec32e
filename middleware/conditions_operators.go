package middleware

import (
	"regexp"

	"github.com/bento-outbox/watermill-outbox/middleware/internal/jsontext"
)

// test is what an operator asks of one value. It never fails: a value of another type does not pass.
type test interface {
	met(s *subject, v value) bool
}

type (
	equality struct{ operand value }
	order    struct {
		operand value
		below   bool // $lt, $lte
		same    bool // $gte, $lte
	}
	membership struct {
		texts  map[string]bool
		others []value
		null   bool
	}
	existence bool
	pattern   struct {
		re   *regexp.Regexp
		size int // instructions
	}
	length int
	// element passes an array that has an element for which node holds.
	element struct {
		node   node
		object bool // node asks for fields, so the element must have some
	}
)

func (t equality) met(_ *subject, v value) bool {
	if t.operand.kind == kindString {
		return v.kind == kindString && v.str() == t.operand.raw
	}
	return equal(v, t.operand)
}

func (t order) met(_ *subject, v value) bool {
	if v.kind != t.operand.kind {
		return t.same && v.nullish() && t.operand.nullish()
	}
	switch c := compare(v, t.operand); {
	case c == 0:
		return t.same
	case t.below:
		return c < 0
	default:
		return c > 0
	}
}

func (t membership) met(s *subject, v value) bool {
	switch {
	case v.nullish():
		return t.null
	case v.kind == kindString:
		return t.texts[v.str()]
	}
	if !s.spend(costOfValue * len(t.others)) {
		return false
	}
	for _, o := range t.others {
		if equal(v, o) {
			return true
		}
	}
	return false
}

func (t existence) met(_ *subject, v value) bool { return (v.kind != kindMissing) == bool(t) }

func (t pattern) met(s *subject, v value) bool {
	return v.kind == kindString && s.spend(costOfInstruction*t.size*len(v.raw)) && t.re.MatchString(v.str())
}

func (t length) met(_ *subject, v value) bool {
	if v.kind != kindArray {
		return false
	}
	n := 0
	for it := jsontext.Elements(v.raw); it.Next(); {
		n++
	}
	return n == int(t)
}

func (t element) met(s *subject, v value) bool {
	if v.kind != kindArray {
		return false
	}
	for it := jsontext.Elements(v.raw); it.Next(); {
		elem := jsonValue(it.Value)
		if t.object && elem.kind != kindObject && elem.kind != kindArray {
			continue
		}
		if t.node.eval(s, elem) {
			return true
		}
	}
	return false
}

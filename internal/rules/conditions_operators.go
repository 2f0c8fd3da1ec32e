package rules

import (
	"regexp"
	"strings"

	"github.com/bento-outbox/watermill-outbox/internal/rules/jsontext"
)

// test is what an operator asks of one value. It never fails: a value of another type does not pass.
type test interface {
	met(s *Subject, v value) bool
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

func (t equality) met(s *Subject, v value) bool {
	if t.operand.kind == kindString {
		switch {
		case v.kind != kindString:
			return false
		case v.text:
			return v.raw == t.operand.raw
		}
		return s.spend(min(len(v.raw), 8*len(t.operand.raw))) && jsontext.Is(v.raw, t.operand.raw)
	}
	return s.spend(costOfComparing(v, t.operand)) && equal(v, t.operand)
}

func (t order) met(s *Subject, v value) bool {
	if v.kind != t.operand.kind {
		return t.same && v.nullish() && t.operand.nullish()
	}
	if !s.spend(costOfComparing(v, t.operand)) {
		return false
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

// costOfComparing bounds what compare and equal take. A string is decoded as a whole.
func costOfComparing(v, operand value) int {
	switch v.kind {
	case kindNumber:
		return len(v.raw)
	case kindString:
		return costOfText(v)
	case kindArray, kindObject:
		return costOfValue * min(len(v.raw), len(operand.raw))
	}
	return 0
}

// costOfText bounds what decoding a string takes.
func costOfText(v value) int {
	if v.text || strings.IndexByte(v.raw, '\\') < 0 {
		return len(v.raw) / 4
	}
	return 8 * len(v.raw)
}

func (t membership) met(s *Subject, v value) bool {
	switch {
	case v.nullish():
		return t.null
	case v.kind == kindString:
		return len(t.texts) > 0 && s.spend(costOfText(v)) && t.texts[v.str()]
	}
	for _, o := range t.others {
		if o.kind != v.kind {
			s.work--
			continue
		}
		if !s.spend(costOfValue + costOfComparing(v, o)) {
			return false
		}
		if equal(v, o) {
			return true
		}
	}
	return false
}

func (t existence) met(_ *Subject, v value) bool { return (v.kind != kindMissing) == bool(t) }

func (t pattern) met(s *Subject, v value) bool {
	return v.kind == kindString && s.spend(costOfText(v)+costOfInstruction*t.size*len(v.raw)) && t.re.MatchString(v.str())
}

func (t length) met(s *Subject, v value) bool {
	if v.kind != kindArray {
		return false
	}
	n := 0
	for it := s.elements(v); s.next(&it); {
		n++
	}
	return n == int(t)
}

func (t element) met(s *Subject, v value) bool {
	if v.kind != kindArray {
		return false
	}
	for it := s.elements(v); s.next(&it); {
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

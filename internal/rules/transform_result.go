package rules

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"github.com/bento-outbox/watermill-outbox/internal/rules/jsontext"
)

// result is the output of one step of a transform after another, and their remaining work.
type result struct {
	out   strings.Builder
	limit int // of the length of out
	work  int
	err   error // the first; nothing is written behind it
}

// begin starts a step that writes about size bytes.
func (x *result) begin(size int) {
	x.out = strings.Builder{}
	if x.err == nil {
		x.out.Grow(min(size, x.limit))
	}
}

// bytes returns what the last step has written, text, and keeps no much larger memory for it.
func (x *result) bytes(text string) []byte {
	if x.out.Cap() > 2*len(text)+64 {
		return []byte(text)
	}
	return unsafe.Slice(unsafe.StringData(text), len(text)) // no other reference exists
}

// write writes text, unless the result gets too long.
func (x *result) write(text string) {
	switch {
	case x.err != nil:
	case len(text) > x.limit-x.out.Len():
		x.err = fmt.Errorf("the result is longer than %d bytes, the share of one target; add less to it, or keep fewer fields", x.limit)
	default:
		x.out.WriteString(text)
	}
}

var errTransformWork = errors.New("it takes too much work on this payload; name fewer fields, or fewer that are in every element of an array")

// spend takes n from the work that is left, and reports whether the transform may go on.
func (x *result) spend(n int) bool {
	if x.work -= n; x.work < 0 && x.err == nil {
		x.err = errTransformWork
	}
	return x.err == nil
}

// element is [tree.element], and what that costs.
func (x *result) element(t *tree, n int, raw string) *tree {
	if t.indexed {
		x.spend(2 * len(t.children))
	}
	own, named := t.element(n, raw)
	if own == nil || named == nil {
		if own == nil {
			return named
		}
		return own
	}
	if !x.spend(costOfBranch * (own.size() + named.size())) {
		return nil
	}
	return merge(own, named)
}

// lookup returns the value at path, through indexes only, or "".
func (x *result) lookup(raw string, path []segment) string {
	for _, seg := range path {
		if !x.spend(costOfStep + len(raw)) {
			return ""
		}
		if jsontext.KindOf(raw) != jsontext.Array || seg.index < 0 {
			raw, _ = jsontext.Field(raw, seg.name)
			continue
		}
		it := jsontext.Elements(raw)
		raw = ""
		for n := 0; it.Next() && x.spend(costOfStep); n++ {
			if n == seg.index {
				raw = it.Value
				break
			}
		}
	}
	return raw
}

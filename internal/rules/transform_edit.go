package rules

import "github.com/bento-outbox/watermill-outbox/internal/rules/jsontext"

// how says what [edit] does with the fields that a tree names.
type how uint8

const (
	include how = iota
	exclude
	rename
)

// edit returns raw, which is valid JSON, with the fields that t names kept, removed or renamed.
func (x *result) edit(raw string, t *tree, h how) string {
	size := len(raw) + 64
	if h == include {
		size = min(size, 64<<10) // most of it is left out
	}
	x.begin(size)
	e := editor{x, h}
	e.value(raw, t)
	return x.out.String()
}

type editor struct {
	*result
	how how
}

// value writes raw, edited by t when there is one. What a leaf names stays as it is.
func (e editor) value(raw string, t *tree) {
	switch k := jsontext.KindOf(raw); {
	case t == nil || t.leaf:
		e.write(raw)
	case k == jsontext.Object:
		e.object(raw, t)
	case k == jsontext.Array:
		e.array(raw, t)
	default:
		e.write(raw)
	}
}

// drops tells whether the value raw, which t belongs to when there is one, is left out.
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
	var replaced map[string]bool
	if e.how == rename {
		e.spend(len(raw) + 4*costOfBranch)
		replaced = t.replaced(raw)
	}
	it, comma, dropped := jsontext.Members(raw), "{", false
	for e.spend(costOfStep) && it.Next() {
		child := t.of(it.Key)
		if e.drops(it.Value, child) || child == nil && replaced[jsontext.Unquote(it.Key)] {
			dropped = true
			continue
		}
		e.write(comma)
		e.write(it.Before)
		if e.how == rename && child != nil && child.leaf {
			e.spend(2 * len(child.value))
			e.write(jsontext.Quote(child.value))
		} else {
			e.write(it.Key)
		}
		e.write(it.Between)
		e.value(it.Value, child)
		e.write(it.After)
		comma = ","
	}
	e.close(comma, dropped, raw, "{}")
}

func (e editor) array(raw string, t *tree) {
	if !e.spend(len(raw)) {
		return
	}
	it, comma, dropped := jsontext.Elements(raw), "[", false
	for n := 0; e.spend(costOfStep) && it.Next(); n++ {
		child := e.element(t, n, it.Value)
		if e.drops(it.Value, child) {
			dropped = true
			continue
		}
		e.write(comma)
		e.write(it.Before)
		e.value(it.Value, child)
		e.write(it.After)
		comma = ","
	}
	e.close(comma, dropped, raw, "[]")
}

// close ends a container. One that was empty before keeps its white space.
func (e editor) close(comma string, dropped bool, raw, brackets string) {
	switch {
	case comma == ",":
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

package rules

import (
	"strconv"

	"github.com/bento-outbox/watermill-outbox/internal/rules/jsontext"
)

// Compiler compiles the parts of one config and collects their faults.
type Compiler struct {
	Faults
	Limits Limits // of each part

	limits Limits // with defaults
	nodes  int    // of the current part
	full   bool   // nodes exceeded its limit, which was reported
}

// begin starts a part.
func (c *Compiler) begin() { c.limits, c.nodes, c.full = c.Limits.withDefaults(), 0, false }

// Measure reports duplicate keys in the JSON raw, and values that are too many or nested too deep. It returns false when there are too many.
func (c *Compiler) Measure(raw, pointer string) bool {
	c.begin()
	c.literal(raw, pointer, 0)
	return !c.full
}

// literal measures raw as a part of the current one.
func (c *Compiler) literal(raw, pointer string, depth int) {
	if !c.count(pointer, depth) {
		return
	}
	c.members(raw, pointer, func(_, val, at string) { c.literal(val, at, depth+1) })
	c.elements(raw, pointer, func(val, at string) { c.literal(val, at, depth+1) })
}

// count counts one value. It returns false after reporting a limit that the value exceeds.
func (c *Compiler) count(pointer string, depth int) bool {
	c.nodes++
	switch {
	case c.full:
		return false
	case c.nodes > c.limits.Nodes:
		c.full = true
		c.Add(pointer, "more than %d values", c.limits.Nodes)
		return false
	case depth > c.limits.Depth:
		c.Add(pointer, "nested deeper than %d", c.limits.Depth)
		return false
	}
	return true
}

// elements calls f for every element of the array raw, and returns their number.
func (c *Compiler) elements(raw, pointer string, f func(val, at string)) (n int) {
	for it := jsontext.Elements(raw); !c.full && it.Next(); n++ {
		f(it.Value, Pointer(pointer, strconv.Itoa(n)))
	}
	return n
}

// members calls f for every member of the object raw, and reports duplicate keys.
func (c *Compiler) members(raw, pointer string, f func(key, val, at string)) {
	seen := make(map[string]bool)
	for it := jsontext.Members(raw); !c.full && it.Next(); {
		key := jsontext.Unquote(it.Key)
		at := Pointer(pointer, key)
		if seen[key] {
			c.Add(at, "duplicate key %q", key)
		}
		seen[key] = true
		f(key, it.Value, at)
	}
}

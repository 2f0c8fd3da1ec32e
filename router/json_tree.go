package router

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bento-outbox/watermill-outbox/internal/rules"
)

// node is a value of a config with its text and its place.
type node struct {
	kind    string // "an object", "an array", "a string", "a number", "a boolean" or "null"
	raw     string
	text    string // of a string
	pointer string
	members []member
	elems   []*node
}

type member struct {
	key string
	*node
}

// decoder turns text into nodes and nodes into configs, and collects every fault it meets.
type decoder struct {
	rules.Compiler
	limits Limits
	nodes  int
	text   string
	json   *json.Decoder
}

// addAll takes over the faults of another error, or adds err itself at pointer.
func (d *decoder) addAll(pointer string, err error) {
	var invalid *InvalidConfigError
	switch {
	case err == nil:
	case errors.As(err, &invalid):
		for _, f := range invalid.Faults {
			d.Add(f.Pointer, "%s", f.Message)
		}
	default:
		d.Add(pointer, "%s", err)
	}
}

func (d *decoder) err() error { return invalid(d.Faults) }

// parse reads text, or reports why not and returns nil. Duplicate keys are faults; the first counts.
func (d *decoder) parse(text, pointer string) *node {
	if len(text) > d.limits.ConfigSize {
		d.Add(pointer, "is %d bytes long, more than %d", len(text), d.limits.ConfigSize)
		return nil
	}
	if !utf8.ValidString(text) {
		d.Add(pointer, "is not valid UTF-8")
		return nil
	}
	if err := json.Unmarshal([]byte(text), new(json.RawMessage)); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			d.Add(pointer, "is not JSON at byte %d: %s", syntax.Offset, syntax)
		} else {
			d.Add(pointer, "is not JSON: %s", err)
		}
		return nil
	}
	d.text, d.json = text, json.NewDecoder(strings.NewReader(text))
	d.json.UseNumber()
	return d.value(pointer, 0)
}

// value reads the next value, which is there.
func (d *decoder) value(pointer string, depth int) *node {
	start := int(d.json.InputOffset())
	for strings.IndexByte(" \t\r\n,:", d.text[start]) >= 0 {
		start++
	}
	d.nodes++
	if d.nodes == d.limits.Nodes+1 {
		d.Add(pointer, "more than %d values", d.limits.Nodes)
	}
	if d.nodes > d.limits.Nodes || depth > maxNodeDepth {
		if d.nodes <= d.limits.Nodes {
			d.Add(pointer, "nested deeper than %d", maxNodeDepth)
		}
		var skipped json.RawMessage
		_ = d.json.Decode(&skipped)
		return nil
	}
	n := &node{pointer: pointer}
	token, _ := d.json.Token()
	switch t := token.(type) {
	case json.Delim:
		if t == '{' {
			n.kind = "an object"
			d.members(n, depth)
		} else {
			n.kind = "an array"
			for i := 0; d.json.More(); i++ {
				if elem := d.value(rules.Pointer(pointer, strconv.Itoa(i)), depth+1); elem != nil {
					n.elems = append(n.elems, elem)
				}
			}
		}
		_, _ = d.json.Token()
	case string:
		n.kind, n.text = "a string", t
	case json.Number:
		n.kind = "a number"
	case bool:
		n.kind = "a boolean"
	default:
		n.kind = "null"
	}
	n.raw = d.text[start:d.json.InputOffset()]
	return n
}

func (d *decoder) members(n *node, depth int) {
	seen := make(map[string]bool)
	for d.json.More() {
		token, _ := d.json.Token()
		key, _ := token.(string)
		pointer := rules.Pointer(n.pointer, key)
		if seen[key] {
			d.Add(pointer, "key %q is there twice", key)
		}
		if val := d.value(pointer, depth+1); val != nil && !seen[key] {
			n.members = append(n.members, member{key, val})
		}
		seen[key] = true
	}
}

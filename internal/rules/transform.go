package rules

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/bento-outbox/watermill-outbox/internal/fault"
	"github.com/bento-outbox/watermill-outbox/internal/rules/jsontext"
)

// TransformConfig has the fields of middleware.TransformConfig, where they are documented.
type TransformConfig struct {
	IncludeFields []string
	ExcludeFields []string
	FieldMapping  map[string]string
	AddFields     map[string]any
}

// Transformer is a compiled [TransformConfig]. It is immutable and safe for concurrent use.
type Transformer struct {
	include, exclude tree
	renames          tree   // of field_mapping, what keeps its parent
	moves            []move // and what does not
	moved            tree   // the sources of moves
	add              tree
	limits           Limits
}

type move struct {
	from, to []segment
}

// Transformer compiles cfg. Faults are reported below pointer.
func (c *Compiler) Transformer(cfg TransformConfig, pointer string) *Transformer {
	c.begin()
	t := &Transformer{limits: c.limits}
	c.fields(&t.include, cfg.IncludeFields, pointer+"/include_fields")
	c.fields(&t.exclude, cfg.ExcludeFields, pointer+"/exclude_fields")
	c.mapping(t, cfg.FieldMapping, pointer+"/field_mapping")
	for _, key := range slices.Sorted(maps.Keys(cfg.AddFields)) {
		at := Pointer(pointer+"/add_fields", key)
		raw, err := marshal(cfg.AddFields[key])
		if err != nil || jsontext.Check(raw) >= 0 {
			c.Add(at, "value is not JSON")
			continue
		}
		c.literal(raw, at, 0)
		if segments := c.path(key, at); segments != nil {
			c.set(&t.add, segments, raw, at)
		}
	}
	return t
}

// marshal returns the JSON of v, with no more escapes than it needs.
func marshal(v any) (string, error) {
	if raw, ok := v.(json.RawMessage); ok {
		return jsontext.Trim(string(raw)), nil
	}
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return jsontext.Trim(out.String()), nil
}

// Apply returns the changed payload of s. What it does not touch stays as it was to the byte: the spelling of numbers, the
// order of keys, escapes and white space. Of duplicate keys, each is kept, removed, renamed or set alike; a value that moves
// is that of the first.
//
// A nil payload, which tells consumers that there is no value any more, stays nil.
//
// The payload is not modified; the result may share its memory. The error is permanent: the payload is not JSON, is neither object
// nor array, has a value where add_fields or field_mapping need an object, or a limit was exceeded, see [Limits].Work and [Limits].Output.
func (t *Transformer) Apply(s *Subject) ([]byte, error) {
	if s.event.Payload == nil {
		return nil, nil
	}
	at, raw := s.document(), s.doc.Root()
	if at < 0 && raw == "" {
		at = len(s.event.Payload) // it has white space alone
	}
	if at >= 0 {
		return nil, notJSON(at, "a transform needs it")
	}
	if k := jsontext.KindOf(raw); k != jsontext.Object && k != jsontext.Array {
		return nil, fault.Permanent(fmt.Errorf("a transform needs an object or an array, payload is %s", k))
	}
	x, changed := &result{limit: t.limits.Output, work: t.limits.Work}, raw
	changed = x.edit(changed, &t.include, include)
	changed = x.edit(changed, &t.exclude, exclude)
	changed = t.rename(x, changed)
	changed = x.edit(changed, &t.add, set)
	switch {
	case x.err != nil:
		return nil, fault.Permanent(fmt.Errorf("transform: %w", x.err))
	case changed == raw:
		return s.event.Payload, nil
	}
	return x.bytes(changed), nil
}

// rename does all of field_mapping.
func (t *Transformer) rename(x *result, raw string) string {
	if len(t.moves) == 0 {
		return x.edit(raw, &t.renames, rename)
	}
	values := &tree{}
	for _, m := range t.moves {
		if val := x.lookup(raw, m.from); val != "" {
			values.put(m.to, val)
		}
	}
	raw = x.edit(raw, &t.moved, exclude)
	raw = x.edit(raw, &t.renames, rename)
	return x.edit(raw, values, set)
}

// path compiles a path of a transform, or reports why not.
func (c *Compiler) path(text, pointer string) []segment {
	if !c.count(pointer, 0) {
		return nil
	}
	segments, err := splitPath(text, c.limits.PathLength)
	if err != nil {
		c.Add(pointer, "%s", err)
		return nil
	}
	if len(segments) > c.limits.Depth {
		c.Add(pointer, "nested deeper than %d", c.limits.Depth)
		return nil
	}
	return segments
}

// fields adds paths to t.
func (c *Compiler) fields(t *tree, paths []string, pointer string) {
	for i, text := range paths {
		if segments := c.path(text, Pointer(pointer, strconv.Itoa(i))); segments != nil {
			t.put(segments, "")
		}
	}
}

// mapping compiles a field_mapping.
func (c *Compiler) mapping(t *Transformer, mapping map[string]string, pointer string) {
	var targets tree
	for _, key := range slices.Sorted(maps.Keys(mapping)) {
		at := Pointer(pointer, key)
		from, to := c.path(key, at), c.path(mapping[key], at)
		if from == nil || to == nil {
			continue
		}
		if !c.set(&targets, to, "", at) {
			continue
		}
		last := len(from) - 1
		if len(to) == len(from) && slices.Equal(from[:last], to[:last]) {
			t.renames.put(from, to[last].name)
			continue
		}
		if startsWith(to, from) || startsWith(from, to) {
			c.Add(at, "%q and %q lie one inside the other", key, mapping[key])
			continue
		}
		t.moved.put(from, "")
		t.moves = append(t.moves, move{from, to})
	}
}

// set puts val at path, or reports that something is there already, or on the way.
func (c *Compiler) set(root *tree, path []segment, val, pointer string) bool {
	if root.taken(path) {
		c.Add(pointer, "another field is set at the same place")
		return false
	}
	root.put(path, val)
	return true
}

func startsWith(path, prefix []segment) bool {
	return len(path) >= len(prefix) && slices.Equal(path[:len(prefix)], prefix)
}

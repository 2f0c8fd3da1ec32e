package middleware

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/middleware/internal/jsontext"
)

// TransformConfig says how a payload is changed. The four steps run in the order of the fields.
//
// Paths start at the payload's root. A name applied to an array is applied to those of its elements that are objects; a number is an
// index. A backslash makes the character behind it part of a name; stars and pipes are ordinary characters. A path that is
// not there is left alone.
type TransformConfig struct {
	// IncludeFields are the only ones that are kept. Empty keeps all.
	IncludeFields []string `json:"include_fields,omitempty"`
	// ExcludeFields are removed.
	ExcludeFields []string `json:"exclude_fields,omitempty"`
	// FieldMapping moves the values at its keys to the paths at its values, all at once, so two fields can be swapped. A field
	// that keeps its parent stays in its place, in every element of an array. One that gets another parent is added at
	// the end of it; arrays on its way need indexes. What was at the new path is replaced.
	FieldMapping map[string]string `json:"field_mapping,omitempty"`
	// AddFields sets the paths at its keys, replacing what is there. Objects on the way are made where there is nothing or null.
	// A value is marshaled once; a json.RawMessage is kept to the byte.
	AddFields map[string]any `json:"add_fields,omitempty"`
}

// Transformer is a compiled [TransformConfig]. It is immutable and safe for concurrent use.
type Transformer struct {
	include, exclude *tree
	renames          *tree
	moves            []move
	moved            *tree // the sources of moves
	add              *tree
	limits           Limits
}

type move struct {
	from, to []segment
}

// NewTransformer compiles cfg. The error is an [InvalidError] with all the faults, its pointers below pointer.
func NewTransformer(cfg TransformConfig, limits Limits, pointer string) (*Transformer, error) {
	c := &compiler{limits: limits.withDefaults()}
	t := &Transformer{limits: c.limits}
	t.include = c.fields(cfg.IncludeFields, pointer+"/include_fields")
	t.exclude = c.fields(cfg.ExcludeFields, pointer+"/exclude_fields")
	c.mapping(t, cfg.FieldMapping, pointer+"/field_mapping")
	for _, key := range slices.Sorted(maps.Keys(cfg.AddFields)) {
		at := Pointer(pointer+"/add_fields", key)
		raw, err := marshal(cfg.AddFields[key])
		if err != nil || jsontext.Check(raw) >= 0 {
			c.add(at, "value is not JSON")
			continue
		}
		c.literal(raw, at, 0)
		if segments := c.path(key, at); segments != nil {
			if t.add == nil {
				t.add = &tree{}
			}
			c.set(t.add, segments, raw, at)
		}
	}
	return t, c.err()
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

// Transform returns the changed payload. What it does not touch stays as it was to the byte: the spelling of numbers, the
// order of keys, escapes and white space. Of duplicate keys, each is kept, removed, renamed or set alike; a value that moves
// is that of the first.
//
// A nil payload, which tells consumers that there is no value any more, stays nil.
//
// payload is not modified; the result may share its memory. The error is permanent: payload is not JSON, is neither object
// nor array, has a value where add_fields or field_mapping need an object, or a limit was exceeded, see [Limits].Work and [Limits].Output.
func (t *Transformer) Transform(payload []byte) ([]byte, error) {
	return t.Apply(&Event{Payload: payload})
}

// Apply is [Transformer.Transform] of e's payload. It does not modify e.
func (t *Transformer) Apply(e *Event) ([]byte, error) {
	if e.Payload == nil {
		return nil, nil
	}
	raw, at := payloadOf(e)
	if at >= 0 {
		return nil, Permanent(fmt.Errorf("%w at byte %d, and a transform needs it", errNotJSON, at))
	}
	if k := jsontext.KindOf(raw); k != jsontext.Object && k != jsontext.Array {
		return nil, Permanent(fmt.Errorf("a transform needs an object or an array, payload is %s", k))
	}
	x, changed := &result{limit: t.limits.Output, work: t.limits.Work}, raw
	if t.include != nil {
		changed = x.edit(changed, t.include, include)
	}
	if t.exclude != nil {
		changed = x.edit(changed, t.exclude, exclude)
	}
	if t.moved != nil || t.renames != nil {
		changed = t.rename(x, changed)
	}
	if t.add != nil {
		changed = x.set(changed, t.add)
	}
	switch {
	case x.err != nil:
		return nil, Permanent(fmt.Errorf("transform: %w", x.err))
	case changed == raw:
		return e.Payload, nil
	}
	return x.bytes(changed), nil
}

// payloadOf returns e's payload without the space around it, and where it is no JSON, or -1.
func payloadOf(e *Event) (raw string, fault int) {
	text := view(e.Payload)
	if e.shared == nil {
		return jsontext.Trim(text), jsontext.Check(text)
	}
	doc, fault := e.shared.read(e.Payload)
	if doc.Root() == "" && fault < 0 {
		fault = len(text) // empty
	}
	return doc.Root(), fault
}

// rename does all of field_mapping.
func (t *Transformer) rename(x *result, raw string) string {
	var targets *tree
	for _, m := range t.moves {
		if x.err != nil {
			return ""
		}
		if val := x.lookup(raw, m.from); val != "" {
			if targets == nil {
				targets = &tree{}
			}
			targets.put(m.to, val)
		}
	}
	if t.moved != nil {
		raw = x.edit(raw, t.moved, exclude)
	}
	if t.renames != nil {
		raw = x.edit(raw, t.renames, rename)
	}
	if targets == nil {
		return raw
	}
	return x.set(raw, targets)
}

// Transform changes the payload before the handler sees it. See [TransformConfig].
//
// The message's payload is replaced, not modified in place, so copies of the message keep theirs; when the handler fails,
// the message gets its own payload back, so that a retry starts from it. The error of Transform is an [InvalidError]; a payload
// that cannot be transformed is a permanent error.
func Transform(cfg TransformConfig) (message.HandlerMiddleware, error) {
	t, err := NewTransformer(cfg, Limits{}, "")
	if err != nil {
		return nil, err
	}
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) (produced []*message.Message, err error) {
			original := msg.Payload
			payload, err := t.Transform(original)
			if err != nil {
				return fail(msg, err)
			}
			msg.Payload = payload
			done := false
			defer func() {
				if err != nil || !done { // not done: the handler panicked
					msg.Payload = original
				}
			}()
			produced, err = next(msg)
			done = true
			return produced, err
		}
	}, nil
}

// path compiles a path of a transform, or reports why not.
func (c *compiler) path(text, pointer string) []segment {
	if !c.count(pointer, 0) {
		return nil
	}
	segments, err := splitPath(text, c.limits.PathLength)
	if err != nil {
		c.add(pointer, "%s", err)
		return nil
	}
	if len(segments) > c.limits.Depth {
		c.add(pointer, "nested deeper than %d", c.limits.Depth)
		return nil
	}
	return segments
}

func (c *compiler) fields(paths []string, pointer string) *tree {
	if len(paths) == 0 {
		return nil
	}
	root := &tree{}
	for i, text := range paths {
		if segments := c.path(text, Pointer(pointer, strconv.Itoa(i))); segments != nil {
			root.put(segments, "")
		}
	}
	return root
}

func (c *compiler) mapping(t *Transformer, mapping map[string]string, pointer string) {
	targets := &tree{}
	for _, key := range slices.Sorted(maps.Keys(mapping)) {
		at := Pointer(pointer, key)
		from, to := c.path(key, at), c.path(mapping[key], at)
		if from == nil || to == nil {
			continue
		}
		if !c.set(targets, to, "", at) {
			continue
		}
		last := len(from) - 1
		if len(to) == len(from) && slices.Equal(from[:last], to[:last]) {
			if t.renames == nil {
				t.renames = &tree{}
			}
			t.renames.put(from, to[last].name)
			continue
		}
		if startsWith(to, from) || startsWith(from, to) {
			c.add(at, "%q and %q lie one inside the other", key, mapping[key])
			continue
		}
		if t.moved == nil {
			t.moved = &tree{}
		}
		t.moved.put(from, "")
		t.moves = append(t.moves, move{from, to})
	}
}

// set puts val at path, or reports that something is there already, or on the way.
func (c *compiler) set(root *tree, path []segment, val, pointer string) bool {
	if root.taken(path) {
		c.add(pointer, "another field is set at the same place")
		return false
	}
	root.put(path, val)
	return true
}

func startsWith(path, prefix []segment) bool {
	return len(path) >= len(prefix) && slices.Equal(path[:len(prefix)], prefix)
}

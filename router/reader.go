package router

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/bento-outbox/watermill-outbox/internal/nearest"
	"github.com/bento-outbox/watermill-outbox/internal/rules"
	"github.com/bento-outbox/watermill-outbox/internal/rules/jsontext"
)

// value is the JSON text of a value in a config, and its place. The zero value is missing.
type value struct {
	raw string
	at  string // a JSON pointer
}

func (v value) kind() jsontext.Kind { return jsontext.KindOf(v.raw) }

// has reports whether the object v has the member key and it is not null, which means not given.
func (v value) has(key string) bool {
	raw, _ := jsontext.Field(v.raw, key)
	return raw != "" && raw != "null"
}

// reader reads configs from JSON, compiles them, and collects what is wrong.
type reader struct {
	rules.Compiler
	limits Limits
}

func (r *reader) err() error { return invalid(r.Faults) }

// parse returns the value of text, or the zero value after it has reported why there is none.
func (r *reader) parse(text, at string) value {
	if len(text) > r.limits.ConfigSize {
		r.Add(at, "is %d bytes long, more than %d", len(text), r.limits.ConfigSize)
		return value{}
	}
	if !utf8.ValidString(text) {
		r.Add(at, "is not valid UTF-8")
		return value{}
	}
	if err := json.Unmarshal([]byte(text), new(json.RawMessage)); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			r.Add(at, "is not JSON at byte %d: %s", syntax.Offset, syntax)
		} else {
			r.Add(at, "is not JSON: %s", err)
		}
		return value{}
	}
	v := value{jsontext.Trim(text), at}
	r.Limits = rules.Limits{Nodes: r.limits.Nodes, Depth: maxNodeDepth}
	if !r.Measure(v.raw, at) {
		return value{}
	}
	return v
}

// object calls f for every member of v that is not null and whose key is known; without known keys, for every member. Of duplicate keys the
// first counts. A missing v has no members, and anything but an object is a fault: what must be one.
func (r *reader) object(v value, what string, known []string, f func(key string, member value)) {
	if v.raw == "" {
		return
	}
	if v.kind() != jsontext.Object {
		r.Add(v.at, "%s must be an object, not %s", what, v.kind())
		return
	}
	var seen []string
	for it := jsontext.Members(v.raw); it.Next(); {
		key := unquote(it.Key)
		member := value{it.Value, rules.Pointer(v.at, key)}
		switch {
		case slices.Contains(seen, key):
		case known != nil && !slices.Contains(known, key):
			r.unknown(member.at, "key", key, known)
		case known == nil || member.raw != "null":
			f(key, member)
		}
		seen = append(seen, key)
	}
}

// unknown reports a name that is none of known.
func (r *reader) unknown(at, what, name string, known []string) {
	hint := "; known are " + strings.Join(known, ", ")
	if near := nearest.Name(name, known); near != "" {
		hint = fmt.Sprintf(", did you mean %q?", near)
	}
	r.Add(at, "unknown %s %.60q%s", what, name, hint)
}

func (r *reader) array(v value) (list []value) {
	if v.kind() != jsontext.Array {
		r.Add(v.at, "must be an array, not %s", v.kind())
	}
	for it := jsontext.Elements(v.raw); it.Next(); {
		list = append(list, value{it.Value, rules.Pointer(v.at, strconv.Itoa(len(list)))})
	}
	return list
}

func (r *reader) str(v value) string {
	if v.kind() != jsontext.String {
		r.Add(v.at, "must be a string, not %s", v.kind())
		return ""
	}
	return unquote(v.raw)
}

// filled is str of a text that must not be empty.
func (r *reader) filled(v value) string {
	if v.raw == `""` {
		r.Add(v.at, "is empty")
	}
	return r.str(v)
}

func (r *reader) number(v value) (float64, bool) {
	if v.kind() != jsontext.Number {
		r.Add(v.at, "must be a number, not %s", v.kind())
		return 0, false
	}
	f, err := strconv.ParseFloat(v.raw, 64)
	if err != nil || math.IsInf(f, 0) {
		r.Add(v.at, "is out of range")
		return 0, false
	}
	return f, true
}

// unquote returns the text of a JSON string as valid UTF-8.
func unquote(raw string) string { return strings.ToValidUTF8(jsontext.Unquote(raw), "\ufffd") }

package rules

import (
	"cmp"
	"strings"
	"time"
	"unsafe"

	"github.com/bento-outbox/watermill-outbox/internal/rules/jsontext"
)

// kind orders values of different types as MongoDB does.
type kind uint8

const (
	kindMissing kind = iota
	kindNull
	kindNumber
	kindString
	kindObject
	kindArray
	kindBool
	kindTime
)

// value is a JSON value by its text, an attribute of the event, or nothing.
type value struct {
	kind kind
	text bool   // raw is the text of a string itself, without quotes and escapes
	raw  string // JSON, except for a text
	time *time.Time
}

var kinds = [...]kind{
	jsontext.Null: kindNull, jsontext.Bool: kindBool, jsontext.Number: kindNumber, jsontext.String: kindString,
	jsontext.Object: kindObject, jsontext.Array: kindArray,
}

// jsonValue returns the value of raw, valid JSON without surrounding space. An empty raw is a missing value.
func jsonValue(raw string) value {
	return value{kind: kinds[jsontext.KindOf(raw)], raw: raw}
}

// textValue returns the value of an attribute, which is missing when it is empty.
func textValue(text string) value {
	if text == "" {
		return value{}
	}
	return value{kind: kindString, text: true, raw: text}
}

// timeValue returns the value of a time, which is missing when it is zero.
func timeValue(t *time.Time) value {
	if t.IsZero() {
		return value{}
	}
	return value{kind: kindTime, time: t}
}

// str returns the text of a string.
func (v value) str() string {
	if v.text {
		return v.raw
	}
	return jsontext.Unquote(v.raw)
}

// nullish reports whether v equals null in MongoDB.
func (v value) nullish() bool { return v.kind <= kindNull }

// equal reports whether a and b are equal in MongoDB: numbers as decimals, arrays in order, objects with the same fields
// in the same order.
func equal(a, b value) bool {
	if a.kind != b.kind {
		return a.nullish() && b.nullish()
	}
	return compare(a, b) == 0
}

// compare orders a and b as MongoDB does: by type first, then by value.
func compare(a, b value) int {
	if a.kind != b.kind {
		return cmp.Compare(a.kind, b.kind)
	}
	switch a.kind {
	case kindNumber:
		return jsontext.CompareNumbers(a.raw, b.raw)
	case kindString:
		return strings.Compare(a.str(), b.str())
	case kindBool:
		return strings.Compare(a.raw, b.raw) // "false" comes before "true"
	case kindTime:
		return a.time.Compare(*b.time)
	case kindArray, kindObject:
		return compareNested(a, b)
	}
	return 0
}

// compareNested compares two arrays or two objects. It must not be inlined: its frame of 1.1 kB would be part of every comparison and make the
// stack grow once more for most events.
//
//go:noinline
func compareNested(a, b value) int {
	if a.kind == kindArray {
		return compareMembers(jsontext.Elements(a.raw), jsontext.Elements(b.raw))
	}
	return compareMembers(jsontext.Members(a.raw), jsontext.Members(b.raw))
}

// compareMembers compares pair by pair: the types of the values, the names, the values.
func compareMembers(a, b jsontext.Iter) int {
	for {
		moreA, moreB := a.Next(), b.Next()
		if !moreA || !moreB {
			switch {
			case moreA:
				return 1
			case moreB:
				return -1
			}
			return 0
		}
		x, y := jsonValue(a.Value), jsonValue(b.Value)
		if x.kind != y.kind {
			return cmp.Compare(x.kind, y.kind)
		}
		if a.Key != b.Key {
			if c := strings.Compare(jsontext.Unquote(a.Key), jsontext.Unquote(b.Key)); c != 0 {
				return c
			}
		}
		if c := compare(x, y); c != 0 {
			return c
		}
	}
}

// view returns data as a string without copying it. Nothing in this module modifies a payload in place.
func view(data []byte) string {
	return unsafe.String(unsafe.SliceData(data), len(data))
}

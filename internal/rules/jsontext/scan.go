// Package jsontext reads values out of JSON text without decoding the rest of it.
//
// A value is the substring of its text: nothing is copied, and number spelling, key order and escapes stay as they were.
// What is walked over is checked against RFC 8259, so a value that an [Iter] yields is valid JSON; text behind it has not
// been looked at. No function modifies its input, and all are safe for concurrent use.
package jsontext

import "math/bits"

// MaxDepth is how deep arrays and objects may nest, as in encoding/json. Deeper text is taken as malformed.
const MaxDepth = 10_000

// Kind is the type of a JSON value.
type Kind uint8

// The kinds.
const (
	Invalid Kind = iota
	Null
	Bool
	Number
	String
	Object
	Array
)

func (k Kind) String() string {
	return [...]string{"invalid", "null", "a boolean", "a number", "a string", "an object", "an array"}[k]
}

// KindOf tells the kind of raw by its first byte; raw has no leading space.
func KindOf(raw string) Kind {
	if raw == "" {
		return Invalid
	}
	switch c := raw[0]; {
	case c == '"':
		return String
	case c == '{':
		return Object
	case c == '[':
		return Array
	case c == '-' || c >= '0' && c <= '9':
		return Number
	case c == 't' || c == 'f':
		return Bool
	case c == 'n':
		return Null
	}
	return Invalid
}

// Space returns how many bytes of white space text begins with.
func Space(text string) int { return space(text, 0) }

// Trim returns the text between leading and trailing JSON white space.
func Trim(text string) string {
	text = text[space(text, 0):]
	for len(text) > 0 && isSpace(text[len(text)-1]) {
		text = text[:len(text)-1]
	}
	return text
}

// Check reports the byte offset of the first fault in text, which must be exactly one JSON value, or -1 when it is valid.
func Check(text string) int {
	i := space(text, 0)
	end := skip(text, i, 0)
	if end < 0 {
		return min(-end-1, len(text))
	}
	if end = space(text, end); end < len(text) {
		return end
	}
	return -1
}

// skip returns the end of the value that starts at i, or -offset-1 of the fault.
func skip(s string, i, depth int) int {
	if i >= len(s) {
		return -i - 1
	}
	switch c := s[i]; {
	case c == '"':
		return skipString(s, i)
	case c == '{':
		if depth >= MaxDepth {
			return -i - 1
		}
		return skipObject(s, i, depth)
	case c == '[':
		if depth >= MaxDepth {
			return -i - 1
		}
		return skipArray(s, i, depth)
	case c == '-' || c >= '0' && c <= '9':
		return skipNumber(s, i)
	case c == 't':
		return skipWord(s, i, "true")
	case c == 'f':
		return skipWord(s, i, "false")
	case c == 'n':
		return skipWord(s, i, "null")
	}
	return -i - 1
}

func skipObject(s string, i, depth int) int {
	i = space(s, i+1)
	if i < len(s) && s[i] == '}' {
		return i + 1
	}
	for {
		if i >= len(s) || s[i] != '"' {
			return -i - 1
		}
		if i = skipString(s, i); i < 0 {
			return i
		}
		if i = space(s, i); i >= len(s) || s[i] != ':' {
			return -i - 1
		}
		if i = skip(s, space(s, i+1), depth+1); i < 0 {
			return i
		}
		i = space(s, i)
		switch {
		case i < len(s) && s[i] == ',':
			i = space(s, i+1)
		case i < len(s) && s[i] == '}':
			return i + 1
		default:
			return -i - 1
		}
	}
}

func skipArray(s string, i, depth int) int {
	i = space(s, i+1)
	if i < len(s) && s[i] == ']' {
		return i + 1
	}
	for {
		if i = skip(s, i, depth+1); i < 0 {
			return i
		}
		i = space(s, i)
		switch {
		case i < len(s) && s[i] == ',':
			i = space(s, i+1)
		case i < len(s) && s[i] == ']':
			return i + 1
		default:
			return -i - 1
		}
	}
}

func skipWord(s string, i int, word string) int {
	if len(s)-i >= len(word) && s[i:i+len(word)] == word {
		return i + len(word)
	}
	return -i - 1
}

func skipNumber(s string, i int) int {
	if s[i] == '-' {
		i++
	}
	start := i
	if i = digits(s, i); i == start || s[start] == '0' && i > start+1 {
		return -start - 1
	}
	if i < len(s) && s[i] == '.' {
		start = i + 1
		if i = digits(s, start); i == start {
			return -i - 1
		}
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		start = i
		if i = digits(s, start); i == start {
			return -i - 1
		}
	}
	return i
}

func digits(s string, i int) int {
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return i
}

const ones, tops = 0x0101010101010101, 0x8080808080808080

// skipString looks at eight bytes at once for a quote, a backslash or a control character.
func skipString(s string, i int) int {
	i++
	for {
		for ; i+8 <= len(s); i += 8 {
			b := s[i : i+8]
			w := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
				uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
			quote, slash := w^(ones*'"'), w^(ones*'\\')
			if found := ((quote-ones)&^quote | (slash-ones)&^slash | (w-ones*0x20)&^w) & tops; found != 0 {
				i += bits.TrailingZeros64(found) / 8 // the lowest bit is exact, those above it need not be
				break
			}
		}
		if i >= len(s) {
			return -len(s) - 1
		}
		switch c := s[i]; {
		case c == '"':
			return i + 1
		case c < 0x20:
			return -i - 1
		case c == '\\':
			if i = skipEscape(s, i); i < 0 {
				return i
			}
		default: // near the end
			i++
		}
	}
}

func skipEscape(s string, i int) int {
	if i+1 >= len(s) {
		return -len(s) - 1
	}
	switch s[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		for n := i + 2; n < i+6; n++ {
			if n >= len(s) || !isHex(s[n]) {
				return -n - 1
			}
		}
		return i + 6
	}
	return -i - 2
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func space(s string, i int) int {
	for i < len(s) && isSpace(s[i]) {
		i++
	}
	return i
}

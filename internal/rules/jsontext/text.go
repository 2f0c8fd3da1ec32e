package jsontext

import (
	"encoding/json"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Unquote returns the text of the JSON string raw. It allocates only when raw has escapes. An escaped surrogate without its pair is no
// character: it becomes the three bytes that UTF-8 would write its number with, so that it equals itself alone.
func Unquote(raw string) string {
	inner := raw[1 : len(raw)-1]
	at := strings.IndexByte(inner, '\\')
	if at < 0 {
		return inner
	}
	text := make([]byte, 0, len(inner))
	for ; at >= 0; at = strings.IndexByte(inner, '\\') {
		text = append(text, inner[:at]...)
		c := inner[at+1]
		if c != 'u' {
			text = append(text, unescaped[c])
			inner = inner[at+2:]
			continue
		}
		r := hex4(inner[at+2:])
		inner = inner[at+6:]
		if utf16.IsSurrogate(r) {
			if pair := utf16.DecodeRune(r, followingEscape(inner)); pair != utf8.RuneError {
				r, inner = pair, inner[6:]
			} else {
				text = append(text, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0x3f, 0x80|byte(r)&0x3f)
				continue
			}
		}
		text = utf8.AppendRune(text, r)
	}
	return string(append(text, inner...))
}

var unescaped = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// followingEscape returns the code unit that inner begins with the escape of, or -1.
func followingEscape(inner string) rune {
	if len(inner) < 6 || inner[0] != '\\' || inner[1] != 'u' {
		return -1
	}
	return hex4(inner[2:])
}

func hex4(s string) (r rune) {
	for i := range 4 {
		c := s[i]
		switch {
		case c >= 'a':
			c -= 'a' - 10
		case c >= 'A':
			c -= 'A' - 10
		default:
			c -= '0'
		}
		r = r<<4 | rune(c)
	}
	return r
}

// Quote returns text as a JSON string, with the escapes that RFC 8259 asks for and no others.
func Quote(text string) string {
	plain := true
	for i := 0; i < len(text) && plain; i++ {
		plain = text[i] >= 0x20 && text[i] != '"' && text[i] != '\\' && text[i] < 0x80
	}
	if plain {
		return `"` + text + `"`
	}
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(text); err != nil {
		return `""`
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// Is reports whether the JSON string raw spells text. It does not allocate unless raw has escapes.
func Is(raw, text string) bool {
	inner := raw[1 : len(raw)-1]
	if inner == text {
		return strings.IndexByte(inner, '\\') < 0
	}
	// An escaped spelling is longer than what it says, at most six times.
	return len(inner) > len(text) && len(inner) <= 6*len(text) && strings.IndexByte(inner, '\\') >= 0 && Unquote(raw) == text
}

// Field returns the value of the first member of the object raw that is called name, "" when there is none, and how many bytes were
// walked over: all of raw when it is cut off before the member is found.
func Field(raw, name string) (value string, walked int) {
	if raw == "" || raw[0] != '{' {
		return "", 0
	}
	i := space(raw, 1)
	if i < len(raw) && raw[i] == '}' {
		return "", i
	}
	return field(raw, i, name)
}

// field is Field from the member on whose key is at i.
func field(raw string, i int, name string) (value string, walked int) {
	for i < len(raw) {
		end := skipString(raw, i)
		if end < 0 {
			break
		}
		found := Is(raw[i:end], name)
		i = space(raw, space(raw, end)+1) // behind the colon
		if end = skip(raw, i, 1); end < 0 {
			break
		}
		if found {
			return raw[i:end], end
		}
		if i = space(raw, end); i < len(raw) && raw[i] == '}' {
			return "", i
		}
		i = space(raw, i+1)
	}
	return "", len(raw)
}

package jsontext

import (
	"encoding/json"
	"strings"
)

// Unquote returns the text of the JSON string raw. It allocates only when raw has escapes.
func Unquote(raw string) string {
	inner := raw[1 : len(raw)-1]
	if strings.IndexByte(inner, '\\') < 0 {
		return inner
	}
	var text string
	if err := json.Unmarshal([]byte(raw), &text); err != nil {
		return inner
	}
	return text
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

// Is tells whether the JSON string raw says text. It does not allocate unless raw has escapes.
func Is(raw, text string) bool {
	inner := raw[1 : len(raw)-1]
	if inner == text {
		return strings.IndexByte(inner, '\\') < 0
	}
	// An escaped spelling is longer than what it says.
	return len(inner) > len(text) && strings.IndexByte(inner, '\\') >= 0 && Unquote(raw) == text
}

// Field returns the value of the first member of the object raw that is called name, "" when there is none, and the offset
// of a fault that was met on the way, or -1.
func Field(raw, name string) (value string, fault int) {
	if raw == "" || raw[0] != '{' {
		return "", -1
	}
	i := space(raw, 1)
	if i < len(raw) && raw[i] == '}' {
		return "", -1
	}
	for {
		if i >= len(raw) || raw[i] != '"' {
			return "", i
		}
		end := skipString(raw, i)
		if end < 0 {
			return "", -end - 1
		}
		found := Is(raw[i:end], name)
		if i = space(raw, end); i >= len(raw) || raw[i] != ':' {
			return "", i
		}
		i = space(raw, i+1)
		if end = skip(raw, i, 1); end < 0 {
			return "", -end - 1
		}
		if found {
			return raw[i:end], -1
		}
		switch i = space(raw, end); {
		case i < len(raw) && raw[i] == ',':
			i = space(raw, i+1)
		case i < len(raw) && raw[i] == '}':
			return "", -1
		default:
			return "", i
		}
	}
}

// Element returns element n of the array raw, "" when there is none, and the offset of a fault that was met on the way,
// or -1.
func Element(raw string, n int) (value string, fault int) {
	it := Elements(raw)
	for it.Next() {
		if n == 0 {
			return it.Value, -1
		}
		n--
	}
	return "", it.Fault()
}

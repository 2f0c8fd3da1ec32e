package jsontext

// indexed is how many members of its root a [Document] remembers the places of.
const indexed = 24

// Document is a text that was read once and is asked for fields many times. The zero value is empty. It is not safe for concurrent
// use while it is read.
type Document struct {
	root    string // without the space around it; empty until a text was read
	members [indexed]struct{ key, value string }
	n       int // of members
	rest    int // where in root the members behind those begin; 0 when there are none
}

// Read checks that text is exactly one JSON value and remembers it. It returns the offset of the first fault, or -1.
func (d *Document) Read(text string) (fault int) {
	d.Clear()
	begin := space(text, 0)
	var end int
	if begin < len(text) && text[begin] == '{' {
		end = d.object(text, begin)
	} else {
		end = skip(text, begin, 0)
	}
	if end < 0 {
		return min(-end-1, len(text))
	}
	if behind := space(text, end); behind < len(text) {
		return behind
	}
	d.root = text[begin:end]
	return -1
}

// object is skipObject, and remembers the members.
func (d *Document) object(s string, begin int) int {
	i := space(s, begin+1)
	if i < len(s) && s[i] == '}' {
		return i + 1
	}
	for {
		if i >= len(s) || s[i] != '"' {
			return -i - 1
		}
		start := i
		if i = skipString(s, i); i < 0 {
			return i
		}
		key := s[start:i]
		if i = space(s, i); i >= len(s) || s[i] != ':' {
			return -i - 1
		}
		from := space(s, i+1)
		if i = skip(s, from, 1); i < 0 {
			return i
		}
		switch {
		case d.n < indexed:
			d.members[d.n].key, d.members[d.n].value = key, s[from:i]
			d.n++
		case d.rest == 0:
			d.rest = start - begin
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

// Clear forgets the text.
func (d *Document) Clear() {
	clear(d.members[:d.n])
	d.root, d.n, d.rest = "", 0, 0
}

// Root returns the value of the text, or "" when none was read.
func (d *Document) Root() string { return d.root }

// Field returns the value of the first member of the root that is called name, "" when there is none, and how many bytes were walked
// over: limit or more when it was not found for that.
func (d *Document) Field(name string, limit int) (value string, walked int) {
	for i := range d.members[:d.n] {
		if m := &d.members[i]; Is(m.key, name) {
			return m.value, i
		}
	}
	if d.rest == 0 {
		return "", d.n
	}
	value, walked = field(d.root[:max(d.rest, min(len(d.root), d.rest+limit))], d.rest, name)
	return value, walked - d.rest
}

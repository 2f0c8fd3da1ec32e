package jsontext

// Iter walks over the members of an object or the elements of an array, in their order. Duplicate keys are yielded as often
// as they are there.
//
//	for it := jsontext.Members(raw); it.Next(); {
//		use(it.Key, it.Value)
//	}
type Iter struct {
	// Key is the member's name with its quotes and escapes; empty in an array.
	Key string
	// Value is the member's or element's value. Before is what stands before it or its key, behind the comma; After is what
	// stands behind it, before the comma. Between is what stands between key and value.
	Value, Before, Between, After string

	text   string
	pos    int // of the next member, or of the closing bracket
	close  byte
	state  state
	offset int // of the fault
}

type state uint8

const (
	first state = iota
	more
	ended
	failed
)

// Members starts a walk over the object raw, or over nothing when raw is something else. A deeper nested text than
// [MaxDepth] is a fault.
func Members(raw string) Iter { return start(raw, '{', '}') }

// Elements starts a walk over the array raw, or over nothing when raw is something else.
func Elements(raw string) Iter { return start(raw, '[', ']') }

func start(raw string, opening, closing byte) Iter {
	if raw == "" || raw[0] != opening {
		return Iter{state: ended}
	}
	return Iter{text: raw, pos: 1, close: closing}
}

// Next moves to the next member. It returns false at the end, and at the first fault; see [Iter.Fault].
func (it *Iter) Next() bool {
	if it.state >= ended {
		return false
	}
	s := it.text
	begin := it.pos
	i := space(s, begin)
	if i < len(s) && s[i] == it.close && it.state == first {
		it.Before, it.state, it.pos = s[begin:i], ended, i+1
		return false
	}
	it.Before = s[begin:i]
	if it.close == '}' {
		if i >= len(s) || s[i] != '"' {
			return it.fail(i)
		}
		end := skipString(s, i)
		if end < 0 {
			return it.fail(-end - 1)
		}
		it.Key = s[i:end]
		colon := space(s, end)
		if colon >= len(s) || s[colon] != ':' {
			return it.fail(colon)
		}
		i = space(s, colon+1)
		it.Between = s[end:i]
	}
	end := skip(s, i, 1)
	if end < 0 {
		return it.fail(-end - 1)
	}
	it.Value = s[i:end]
	i = space(s, end)
	it.After = s[end:i]
	switch {
	case i < len(s) && s[i] == ',':
		it.state, it.pos = more, i+1
	case i < len(s) && s[i] == it.close:
		it.state, it.pos = ended, i+1
	default:
		return it.fail(i)
	}
	return true
}

func (it *Iter) fail(offset int) bool {
	it.Key, it.Value, it.Before, it.Between, it.After = "", "", "", "", ""
	it.state, it.offset = failed, offset
	return false
}

// Fault returns where in the text that [Members] or [Elements] was given the walk met a fault, or -1.
func (it *Iter) Fault() int {
	if it.state != failed {
		return -1
	}
	return it.offset
}

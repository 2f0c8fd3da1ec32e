package rules

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bento-outbox/watermill-outbox/internal/nearest"
)

// segment is one name of a path, and an index when it is a number.
type segment struct {
	name  string
	index int // -1 when name is no array index
}

// splitPath cuts a dotted path. A backslash makes the character behind it part of the name, so `a\.b` is one name with a
// dot in it; stars, pipes and the like need no backslash, but may have one.
func splitPath(text string, maxLength int) ([]segment, error) {
	if len(text) > maxLength {
		return nil, fmt.Errorf("path is longer than %d bytes", maxLength)
	}
	var segments []segment
	var name strings.Builder
	for i := 0; i <= len(text); i++ {
		switch {
		case i == len(text) || text[i] == '.':
			if name.Len() == 0 {
				return nil, fmt.Errorf("path %q has an empty name", text)
			}
			segments = append(segments, newSegment(name.String()))
			name.Reset()
		case text[i] == '\\':
			if i++; i == len(text) {
				return nil, fmt.Errorf("path %q ends in a backslash", text)
			}
			name.WriteByte(text[i])
		default:
			name.WriteByte(text[i])
		}
	}
	return segments, nil
}

func newSegment(name string) segment {
	s := segment{name: name, index: -1}
	if len(name) > 9 || len(name) > 1 && name[0] == '0' {
		return s
	}
	n := 0
	for i := 0; i < len(name); i++ {
		if name[i] < '0' || name[i] > '9' {
			return s
		}
		n = n*10 + int(name[i]-'0')
	}
	s.index = n
	return s
}

// root is where a path of a condition starts.
type root uint8

const (
	rootPayload root = iota
	rootMetadata
	rootTopic
	rootTenantID
	rootAggregateType
	rootAggregateID
	rootSchemaID
	rootSchemaVersion
	rootOccurredAt
	rootID
	rootElement // inside $elemMatch: the element itself
)

// roots are the names of the roots, in the order of their constants.
var roots = []string{"payload", "metadata", "topic", "tenant_id", "aggregate_type", "aggregate_id", "schema_id",
	"schema_version", "occurred_at", "id"}

// path is where a condition looks.
type path struct {
	text     string // as the author wrote it
	root     root
	key      string // of the metadata
	segments []segment
}

// parsePath reads a path that starts at one of [roots]. All that follows `metadata.` is one key, dots included.
func parsePath(text string, maxLength int) (path, error) {
	if text == "" {
		return path{}, errors.New("path is empty")
	}
	segments, err := splitPath(text, maxLength)
	if err != nil {
		return path{}, err
	}
	p := path{text: text, segments: segments[1:]}
	for i, name := range roots {
		if segments[0].name != name {
			continue
		}
		switch p.root = root(i); {
		case p.root == rootPayload:
		case p.root == rootMetadata:
			if len(p.segments) == 0 {
				return path{}, errors.New("metadata needs the name of a key, as in metadata.source")
			}
			names := make([]string, len(p.segments))
			for i, s := range p.segments {
				names[i] = s.name
			}
			p.key, p.segments = strings.Join(names, "."), nil
		case len(p.segments) > 0:
			return path{}, fmt.Errorf("%s has no fields", name)
		}
		return p, nil
	}
	if near := nearest.Name(segments[0].name, roots); near != "" {
		return path{}, fmt.Errorf("paths do not start at %s, did you mean %s?", segments[0].name, near)
	}
	return path{}, fmt.Errorf("paths do not start at %s, did you mean payload.%s?", segments[0].name, text)
}

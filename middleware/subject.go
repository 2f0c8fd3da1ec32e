package middleware

import (
	"time"

	"github.com/bento-outbox/watermill-outbox/middleware/internal/jsontext"
)

// subject is the event that a program looks at while it runs, and what went wrong. Its exported fields are the names that
// a `when` knows; they are set only for a program that has one.
type subject struct {
	Payload       any               `expr:"payload"` // never set: see whenPatcher
	Metadata      map[string]string `expr:"metadata"`
	ID            string            `expr:"id"`
	Topic         string            `expr:"topic"`
	TenantID      string            `expr:"tenant_id"`
	AggregateType string            `expr:"aggregate_type"`
	AggregateID   string            `expr:"aggregate_id"`
	SchemaID      string            `expr:"schema_id"`
	SchemaVersion string            `expr:"schema_version"`
	OccurredAt    time.Time         `expr:"occurred_at"`

	event Event
	fault int  // where the payload is no JSON
	bad   bool // it is none
	spent int  // of maxWork
}

// maxWork bounds what conditions may cost on one event, in bytes walked over: about a second.
const maxWork = 512 << 20

// Other work, in bytes walked over.
const (
	costOfInstruction = 8  // of a pattern, for a byte of text, at worst
	costOfValue       = 16 // that is compared
)

// spend takes n from what conditions may cost, and tells whether they may go on.
func (s *subject) spend(n int) bool {
	s.spent += n
	return s.spent <= maxWork
}

func (s *subject) name() {
	e := &s.event
	s.Metadata, s.ID, s.Topic, s.TenantID = e.Metadata, e.ID, e.Topic, e.TenantID
	s.AggregateType, s.AggregateID, s.SchemaID, s.SchemaVersion = e.AggregateType, e.AggregateID, e.SchemaID, e.SchemaVersion
	s.OccurredAt = e.OccurredAt
}

// payload returns the payload as a value; an empty payload is missing. Objects and arrays are checked by whoever walks
// into them, so wholly asks for a check of all of it.
func (s *subject) payload(wholly bool) value {
	text := view(s.event.Payload)
	raw := jsontext.Trim(text)
	if raw == "" {
		return value{}
	}
	if k := jsontext.KindOf(raw); wholly || k != jsontext.Object && k != jsontext.Array {
		if fault := jsontext.Check(text); fault >= 0 {
			s.broken(fault)
			return value{}
		}
	}
	return jsonValue(raw)
}

// broken notes that the payload is not JSON at offset.
func (s *subject) broken(offset int) {
	if !s.bad {
		s.bad, s.fault = true, offset
	}
}

// root returns the value that paths of root r start at.
func (s *subject) root(p *path) value {
	switch e := &s.event; p.root {
	case rootPayload:
		return s.payload(len(p.segments) == 0)
	case rootMetadata:
		text, ok := e.Metadata[p.key]
		if !ok {
			return value{}
		}
		return value{kind: kindString, text: true, raw: text}
	case rootTopic:
		return textValue(e.Topic)
	case rootTenantID:
		return textValue(e.TenantID)
	case rootAggregateType:
		return textValue(e.AggregateType)
	case rootAggregateID:
		return textValue(e.AggregateID)
	case rootSchemaID:
		return textValue(e.SchemaID)
	case rootSchemaVersion:
		return textValue(e.SchemaVersion)
	case rootOccurredAt:
		return timeValue(&e.OccurredAt)
	case rootID:
		return textValue(e.ID)
	}
	return value{}
}

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

	event  Event
	doc    *jsontext.Document // of the payload
	opened bool               // doc is that of the event, or was read
	bad    bool               // the payload is no JSON
	fault  int                // where
	work   int                // what may still be spent; negative when that was exceeded
}

// What things cost. The unit is a byte that is walked over, about a nanosecond.
const (
	costOfInstruction = 16 // of a pattern, for a byte of text
	costOfValue       = 32 // that is compared
	costOfStep        = 32 // an operator on a value, or a step to the next element or member
	costOfBranch      = 64 // a field of a transform, for an object that it is looked for in
)

// spend takes n from the work that is left, and reports whether there was as much.
func (s *subject) spend(n int) bool {
	s.work -= n
	return s.work >= 0
}

func (s *subject) name() {
	e := &s.event
	s.Metadata, s.ID, s.Topic, s.TenantID = e.Metadata, e.ID, e.Topic, e.TenantID
	s.AggregateType, s.AggregateID, s.SchemaID, s.SchemaVersion = e.AggregateType, e.AggregateID, e.SchemaID, e.SchemaVersion
	s.OccurredAt = e.OccurredAt
}

// payload returns the document of the payload, nil when it is empty or no JSON. All of it is checked before anything in it is looked
// at, so that every condition gives the same answer about a payload that is no JSON.
func (s *subject) payload() *jsontext.Document {
	if !s.opened {
		s.opened = true
		if s.event.shared != nil {
			s.doc, s.fault = s.event.shared.read(s.event.Payload)
		} else {
			s.fault = readPayload(s.doc, s.event.Payload)
		}
		s.bad = s.fault >= 0
	}
	if s.doc.Root() == "" {
		return nil
	}
	return s.doc
}

// rootField returns the value of a field of the payload's root.
func (s *subject) rootField(d *jsontext.Document, name string) value {
	raw, walked := d.Field(name, s.work)
	s.work -= walked + costOfStep
	return jsonValue(raw)
}

// field returns the value of a field of v.
func (s *subject) field(v value, name string) value {
	raw, walked := jsontext.Field(s.affordable(v.raw), name)
	s.work -= walked + costOfStep
	return jsonValue(raw)
}

// element returns the value of an element of v.
func (s *subject) element(v value, n int) value {
	it := s.elements(v)
	for s.next(&it) {
		if n == 0 {
			return jsonValue(it.Value)
		}
		n--
	}
	return value{}
}

// affordable returns raw, cut off where the work that is left does not reach and one byte on, so that walking to its end takes too much.
func (s *subject) affordable(raw string) string {
	if len(raw) <= s.work {
		return raw
	}
	return raw[:max(s.work+1, 0)]
}

// elements starts a walk over the array v. See [subject.next].
func (s *subject) elements(v value) jsontext.Iter { return jsontext.Elements(s.affordable(v.raw)) }

// next moves to the next element or member and pays for it. It returns false at the end, and when nothing is left to pay with.
func (s *subject) next(it *jsontext.Iter) bool {
	if !it.Next() {
		if it.Fault() >= 0 { // cut off: the payload is valid
			s.work = -1
		}
		return false
	}
	return s.spend(costOfStep + len(it.Key) + len(it.Value))
}

// root returns the value that the path p starts at, for a path of the payload that of its root.
func (s *subject) root(p *path) value {
	switch e := &s.event; p.root {
	case rootPayload:
		if d := s.payload(); d != nil {
			return jsonValue(d.Root())
		}
		return value{}
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

package rules

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/expr-lang/expr/vm"

	"github.com/bento-outbox/watermill-outbox/internal/event"
	"github.com/bento-outbox/watermill-outbox/internal/fault"
	"github.com/bento-outbox/watermill-outbox/internal/rules/jsontext"
)

// Subject is an event for matchers, samplers and transformers, the parts of a plan. Its payload is parsed once, when a part first needs it. A Subject
// is not safe for concurrent use, and its payload must not change while it is open.
//
// The exported fields are the environment of expr programs: the names that a `when` knows, which are set only while one runs, and the
// conditions.
type Subject struct {
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
	Conditions    func() bool       `expr:"$conditions"` // reports whether the conditions that run are met

	conditions allOf
	event      event.Event
	doc        jsontext.Document // of the payload
	read       bool              // doc and fault are known
	fault      int               // where the payload is not JSON, or -1

	work    int  // remaining for the current part; negative when it is exceeded
	bad     bool // the current part needs the payload, which is not JSON
	machine vm.VM
}

// callConditions is the expr call of Conditions.
const callConditions = "$conditions()"

var subjects = sync.Pool{New: func() any {
	s := &Subject{machine: vm.VM{MemoryBudget: whenMemory}}
	s.Conditions = func() bool { return s.conditions.eval(s, value{}) && !s.stopped() }
	return s
}}

// Open returns the subject e. The caller must close it.
func Open(e *event.Event) *Subject {
	s := subjects.Get().(*Subject)
	s.event = *e
	return s
}

// Close releases s, which must not be used afterwards.
func (s *Subject) Close() {
	s.event, s.conditions, s.read = event.Event{}, nil, false
	s.doc.Clear()
	subjects.Put(s)
}

// Costs, in bytes that are read, about a nanosecond each.
const (
	costOfInstruction = 16 // an instruction of a pattern on a byte of text
	costOfValue       = 32 // a comparison
	costOfStep        = 32 // an operator on a value, or a step to the next element or member
	costOfBranch      = 64 // looking for a field of a transform in an object
)

// begin starts a part that has work to spend.
func (s *Subject) begin(work int) { s.work, s.bad = work, false }

// spend takes n from the remaining work and reports whether there was enough.
func (s *Subject) spend(n int) bool {
	s.work -= n
	return s.work >= 0
}

var (
	errNotJSON = errors.New("payload is not JSON")
	errStopped = errors.New("stopped") // the fields of the subject have the cause
)

// stopped reports whether the current part has to stop.
func (s *Subject) stopped() bool { return s.bad || s.work < 0 }

// notJSON returns the error of a part that needs the payload, which is not JSON.
func notJSON(at int, what string) error {
	return fault.Permanent(fmt.Errorf("%w at byte %d, and %s", errNotJSON, at, what))
}

// document parses the payload once and returns the offset of its first fault, or -1. An empty payload is missing, which is no fault. The whole
// payload is checked before any condition reads a part, so that all conditions agree about a payload that is not JSON.
func (s *Subject) document() (fault int) {
	if !s.read {
		s.read, s.fault = true, -1
		if text := view(s.event.Payload); jsontext.Space(text) < len(text) {
			s.fault = s.doc.Read(text)
		}
	}
	return s.fault
}

// payload returns the document of the payload, or nil when the payload is empty or not JSON.
func (s *Subject) payload() *jsontext.Document {
	s.bad = s.document() >= 0
	if s.doc.Root() == "" {
		return nil
	}
	return &s.doc
}

// name sets the names that a `when` knows, and unname forgets them.
func (s *Subject) name() {
	e := &s.event
	s.Metadata, s.ID, s.Topic, s.TenantID = e.Metadata, e.ID, e.Topic, e.TenantID
	s.AggregateType, s.AggregateID, s.SchemaID, s.SchemaVersion = e.AggregateType, e.AggregateID, e.SchemaID, e.SchemaVersion
	s.OccurredAt = e.OccurredAt
}

func (s *Subject) unname() {
	s.Metadata, s.ID, s.Topic, s.TenantID = nil, "", "", ""
	s.AggregateType, s.AggregateID, s.SchemaID, s.SchemaVersion = "", "", "", ""
}

// rootField returns the value of a field of the payload's root.
func (s *Subject) rootField(d *jsontext.Document, name string) value {
	raw, walked := d.Field(name, s.work)
	s.work -= walked + costOfStep
	return jsonValue(raw)
}

// field returns the value of a field of val.
func (s *Subject) field(val value, name string) value {
	raw, walked := jsontext.Field(s.affordable(val.raw), name)
	s.work -= walked + costOfStep
	return jsonValue(raw)
}

// element returns the value of element n of val.
func (s *Subject) element(val value, n int) value {
	it := s.elements(val)
	for s.next(&it) {
		if n == 0 {
			return jsonValue(it.Value)
		}
		n--
	}
	return value{}
}

// affordable returns raw, cut off one byte past the point that the work left reaches, so that walking to its end takes too much.
func (s *Subject) affordable(raw string) string {
	if len(raw) <= s.work {
		return raw
	}
	return raw[:max(s.work+1, 0)]
}

// elements starts a walk over the array val. See [Subject.next].
func (s *Subject) elements(val value) jsontext.Iter { return jsontext.Elements(s.affordable(val.raw)) }

// next moves to the next element or member and spends its cost. It returns false at the end and when the work is exceeded.
func (s *Subject) next(it *jsontext.Iter) bool {
	if !it.Next() {
		if it.Fault() >= 0 { // cut off: the payload is valid
			s.work = -1
		}
		return false
	}
	return s.spend(costOfStep + len(it.Key) + len(it.Value))
}

// root returns the value that the path p starts at; for a path of the payload, its root.
func (s *Subject) root(p *path) value {
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

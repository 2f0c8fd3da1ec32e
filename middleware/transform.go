package middleware

import (
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/event"
	"github.com/bento-outbox/watermill-outbox/internal/rules"
)

// TransformConfig changes a payload in four steps, in the order of the fields.
//
// Paths start at the root of the payload. A name applied to an array applies to those of its elements that are objects; a number is an
// index. A backslash makes the character behind it part of a name; stars and pipes are ordinary characters. A path that does not exist
// is ignored.
type TransformConfig struct {
	// IncludeFields are the only fields that are kept. Empty keeps all.
	IncludeFields []string `json:"include_fields,omitempty"`
	// ExcludeFields are removed.
	ExcludeFields []string `json:"exclude_fields,omitempty"`
	// FieldMapping moves the values at its keys to the paths at its values, all at once, so that two fields can be swapped. A field
	// that keeps its parent stays in its place, in every element of an array. A field that gets another parent is appended to
	// it; arrays on its way need indexes. What was at the new path is replaced.
	FieldMapping map[string]string `json:"field_mapping,omitempty"`
	// AddFields sets the paths at its keys, replacing what is there. Objects on the way are created where there is nothing or null.
	// A value is marshaled once; a json.RawMessage is kept byte for byte.
	AddFields map[string]any `json:"add_fields,omitempty"`
}

// Transform changes the payload before the handler sees it. What the steps do not touch keeps its bytes: the spelling of numbers, the order of
// keys, escapes and white space. Each occurrence of a duplicate key is kept, removed, renamed or set; of those that move, the first.
//
// The payload is replaced, not modified in place, so copies of the message keep theirs. When the handler fails, the message gets its own payload
// back for the next attempt. A nil payload stays nil. A payload that cannot be transformed is a permanent error: it is not JSON, is neither an
// object nor an array, has a value where an object is needed, or exceeds the default [Limits]. Transform returns an [InvalidError] when
// cfg does not compile.
func Transform(cfg TransformConfig) (message.HandlerMiddleware, error) {
	var c rules.Compiler
	transformer := c.Transformer(rules.TransformConfig(cfg), "")
	if err := invalid(c.Faults); err != nil {
		return nil, err
	}
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) (produced []*message.Message, err error) {
			original := msg.Payload
			s := rules.Open(&event.Event{Payload: original})
			payload, err := transformer.Apply(s)
			s.Close()
			if err != nil {
				return fail(msg, err)
			}
			msg.Payload = payload
			done := false
			defer func() {
				if err != nil || !done { // not done: the handler panicked
					msg.Payload = original
				}
			}()
			produced, err = next(msg)
			done = true
			return produced, err
		}
	}, nil
}

package middleware

import (
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/event"
	"github.com/bento-outbox/watermill-outbox/internal/rules"
)

// TransformConfig says how a payload is changed. The four steps run in the order of the fields.
//
// Paths start at the payload's root. A name applied to an array is applied to those of its elements that are objects; a number is an
// index. A backslash makes the character behind it part of a name; stars and pipes are ordinary characters. A path that is
// not there is left alone.
type TransformConfig struct {
	// IncludeFields are the only ones that are kept. Empty keeps all.
	IncludeFields []string `json:"include_fields,omitempty"`
	// ExcludeFields are removed.
	ExcludeFields []string `json:"exclude_fields,omitempty"`
	// FieldMapping moves the values at its keys to the paths at its values, all at once, so two fields can be swapped. A field
	// that keeps its parent stays in its place, in every element of an array. One that gets another parent is added at
	// the end of it; arrays on its way need indexes. What was at the new path is replaced.
	FieldMapping map[string]string `json:"field_mapping,omitempty"`
	// AddFields sets the paths at its keys, replacing what is there. Objects on the way are made where there is nothing or null.
	// A value is marshaled once; a json.RawMessage is kept to the byte.
	AddFields map[string]any `json:"add_fields,omitempty"`
}

// Transform changes the payload before the handler sees it. See [TransformConfig].
//
// The message's payload is replaced, not modified in place, so copies of the message keep theirs; when the handler fails,
// the message gets its own payload back, so that a retry starts from it. The error of Transform is an [InvalidError]; a payload
// that cannot be transformed is a permanent error.
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

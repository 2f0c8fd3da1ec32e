package outbox

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"
)

// envelope is how the PublisherConfig decorator of Watermill's own forwarder wraps messages, see messageEnvelope in its components/forwarder.
type envelope struct {
	DestinationTopic *string            `json:"destination_topic"`
	UUID             *string            `json:"uuid"`
	Payload          *[]byte            `json:"payload"`
	Metadata         *map[string]string `json:"metadata"`
}

var envelopeStart = []byte(`{"destination_topic":"`)

// unwrapped returns the message that is inside msg, and its topic, when msg is an envelope of Watermill's forwarder: such a message has no metadata,
// and its payload has the four fields of an envelope and no other. Else it returns nil.
func unwrapped(msg *message.Message) (*message.Message, string) {
	if len(msg.Metadata) > 0 || !bytes.HasPrefix(msg.Payload, envelopeStart) {
		return nil, ""
	}
	var e envelope
	d := json.NewDecoder(bytes.NewReader(msg.Payload))
	d.DisallowUnknownFields()
	if d.Decode(&e) != nil || d.More() || e.DestinationTopic == nil || e.UUID == nil || !bytes.Contains(msg.Payload, []byte(`"payload":`)) ||
		!bytes.Contains(msg.Payload, []byte(`"metadata":`)) {
		return nil, ""
	}
	inner := message.NewMessageWithContext(msg.Context(), *e.UUID, nil)
	if e.Payload != nil {
		inner.Payload = *e.Payload
	}
	if e.Metadata != nil && *e.Metadata != nil {
		inner.Metadata = *e.Metadata
	}
	return inner, *e.DestinationTopic
}

// delivered reports whether msg has come out of an outbox and still has the headers that it was delivered with.
func delivered(msg *message.Message) bool {
	return msg.Metadata[KeyID] != "" && msg.Metadata[KeySeq] != ""
}

// withoutDelivery returns a copy of msg without what describes its delivery. Attributes of the event go on.
func withoutDelivery(msg *message.Message) *message.Message {
	own := message.NewMessageWithContext(msg.Context(), msg.UUID, msg.Payload)
	own.Metadata = make(message.Metadata, len(msg.Metadata))
	for k, v := range msg.Metadata {
		if !strings.HasPrefix(k, MetadataPrefix) || settable(k) {
			own.Metadata[k] = v
		}
	}
	return own
}

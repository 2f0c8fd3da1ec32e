package outbox

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"
)

// ErrInvalidMessage is wrapped by the errors of messages that the outbox cannot store.
var ErrInvalidMessage = errors.New("invalid message")

// ErrClosed is returned by Publish after Close.
var ErrClosed = errors.New("publisher closed")

// MessageError is one message of a Publish call that was refused. None of the call's messages was stored.
type MessageError struct {
	Index int    // of the message in the call, from 0
	UUID  string // of the message
	Topic string
	Err   error
}

// Error names the message by its place and UUID, never by its payload.
func (e *MessageError) Error() string {
	return fmt.Sprintf("cannot publish message %d (uuid %.64q) to %.128q: %v", e.Index, e.UUID, e.Topic, e.Err)
}

// Unwrap returns the reason.
func (e *MessageError) Unwrap() error { return e.Err }

// Limits of an event, in bytes.
const (
	// DefaultMaxPayload is the default of [Config].MaxPayload.
	DefaultMaxPayload = 16 << 20
	// MaxText is the limit of a UUID, topic, tenant, aggregate type or id, schema id or version, routing key, routing version or ordering key.
	MaxText = 1024
	// MaxMetadata is the limit of the metadata, keys and values together, and of a routing config.
	MaxMetadata = 256 << 10

	insertChunk = 500 // messages an INSERT; keeps below every database's limit of parameters
)

func (p *Publisher) check(topic string, msg *message.Message) error {
	if topic == "" {
		return errors.New("the topic is empty")
	}
	if len(msg.Payload) > p.cfg.MaxPayload {
		return fmt.Errorf("the payload has %d bytes, more than MaxPayload %d", len(msg.Payload), p.cfg.MaxPayload)
	}
	if err := checkText("topic", topic, MaxText); err != nil {
		return err
	}
	if err := checkText("UUID", msg.UUID, MaxText); err != nil {
		return err
	}
	size := 0
	for k, v := range msg.Metadata {
		limit := MaxMetadata
		if strings.HasPrefix(k, MetadataPrefix) {
			if !settable(k) {
				return fmt.Errorf("metadata key %.64q: the prefix %s is reserved; set attributes with the Set functions of package outbox, and name your own "+
					"keys otherwise; outbox.StripHeaders removes what is left of another outbox", k, MetadataPrefix)
			}
			if k != KeyRoutingConfig {
				limit = MaxText
			}
		} else {
			size += len(k) + len(v)
		}
		if err := checkText("metadata key", k, MaxText); err != nil {
			return err
		}
		if err := checkText("metadata "+k, v, limit); err != nil {
			return err
		}
	}
	if text := msg.Metadata[KeyOccurredAt]; text != "" {
		if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
			return fmt.Errorf("metadata %s is no RFC 3339 time; set it with outbox.SetOccurredAt: %w", KeyOccurredAt, err)
		}
	}
	if config := msg.Metadata[KeyRoutingConfig]; config != "" {
		if err := p.cfg.Routes.CheckConfig(config); err != nil {
			return fmt.Errorf("routing config: %w", err)
		}
	}
	if size > MaxMetadata {
		return fmt.Errorf("the metadata has %d bytes, more than %d", size, MaxMetadata)
	}
	if k := p.cfg.OrderingMetadataKey; k != "" && len(msg.Metadata[k]) > MaxText {
		return fmt.Errorf("the ordering key, metadata %s, has %d bytes, more than %d", k, len(msg.Metadata[k]), MaxText)
	}
	return nil
}

func checkText(what, s string, limit int) error {
	switch {
	case len(s) > limit:
		return fmt.Errorf("the %.64s has %d bytes, more than %d", what, len(s), limit)
	case !utf8.ValidString(s):
		return fmt.Errorf("the %.64q is not valid UTF-8; encode it, as Base64 for one", what)
	case strings.IndexByte(s, 0) >= 0:
		return fmt.Errorf("the %.64q contains a NUL byte, which databases do not store in text; encode it, as Base64 for one", what)
	}
	return nil
}

package http

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf16"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Names of headers. The first two and the JSON in the third are those of watermill-http.
const (
	headerUUID        = "Message-Uuid"
	headerMetadata    = "Message-Metadata"
	headerTopic       = "Message-Topic"
	headerIdempotency = "Idempotency-Key"
)

// Metadata keys of the forwarder's headers begin with outboxPrefix; outboxID is the one that consumers deduplicate on.
const (
	outboxPrefix = "outbox_"
	outboxID     = "outbox_id"
)

// standard are metadata keys that are headers of the same name.
var standard = map[string]bool{"traceparent": true, "tracestate": true, "baggage": true}

// setHeaders writes what the package comment describes.
func setHeaders(h http.Header, topic string, msg *message.Message) error {
	h.Set(headerTopic, url.PathEscape(topic))
	h.Set(headerUUID, url.PathEscape(msg.UUID))
	switch id := msg.Metadata[outboxID]; {
	case id != "":
		h.Set(headerIdempotency, escape(id))
	case msg.UUID != "":
		h.Set(headerIdempotency, url.PathEscape(msg.UUID))
	}
	rest := make(map[string]string)
	for key, value := range msg.Metadata {
		if snake(key) && plain(value) {
			h.Set(headerName(key), value)
		} else {
			rest[key] = value
		}
	}
	text, err := json.Marshal(rest)
	if err != nil {
		return err
	}
	h.Set(headerMetadata, ascii(string(text)))
	return nil
}

func headerName(key string) string {
	name := strings.ReplaceAll(key, "_", "-")
	if standard[key] || strings.HasPrefix(key, outboxPrefix) {
		return name
	}
	return headerMetadata + "-" + name
}

// UnmarshalMessage returns the message that [Publisher] made r of, with the body of r as its payload. It does not limit
// the size of the body. It is an UnmarshalMessageFunc of watermill-http; that function's own default reads the UUID, and
// the metadata in Message-Metadata only.
func UnmarshalMessage(_ string, r *http.Request) (*message.Message, error) {
	payload, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	uuid, err := url.PathUnescape(r.Header.Get(headerUUID))
	if err != nil {
		return nil, fmt.Errorf("header %s: %w", headerUUID, err)
	}
	msg := message.NewMessage(uuid, payload)
	if text := r.Header.Get(headerMetadata); text != "" {
		if err := json.Unmarshal([]byte(text), &msg.Metadata); err != nil {
			return nil, fmt.Errorf("header %s is no JSON object of strings", headerMetadata)
		}
		if msg.Metadata == nil { // the text is null
			msg.Metadata = make(message.Metadata)
		}
	}
	for name, values := range r.Header {
		key := strings.ReplaceAll(strings.ToLower(name), "-", "_")
		rest, own := strings.CutPrefix(key, "message_metadata_")
		if own {
			key = rest
		}
		if own || standard[key] || strings.HasPrefix(key, outboxPrefix) {
			msg.Metadata.Set(key, values[0])
		}
	}
	return msg, nil
}

// snake tells whether key survives as the name of a header: case and the difference of _ and - do not.
func snake(key string) bool {
	for _, c := range []byte(key) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return key != ""
}

// plain tells whether value survives as the value of a header.
func plain(value string) bool {
	for _, c := range []byte(value) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return value != "" && strings.TrimSpace(value) == value
}

// escape percent-encodes value if a header cannot hold it.
func escape(value string) string {
	if plain(value) {
		return value
	}
	return url.PathEscape(value)
}

// token tells whether name can be the name of a header.
func token(name string) bool {
	for _, c := range []byte(name) {
		if c <= ' ' || c > '~' || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return name != ""
}

// ascii writes the characters of a JSON text that are outside ASCII as \u escapes.
func ascii(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r < 0x7f:
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

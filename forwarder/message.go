package forwarder

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// messageOf returns e as a message: its payload, its own metadata, and its attributes under the reserved prefix. identity is
// that of the tables.
//
// Metadata that plain SQL stored with values other than strings is carried as JSON text. Keys of the reserved prefix are left out: what a
// message says of its event, the columns of the event say. The error says that the stored metadata is no JSON object.
func messageOf(e *store.Event, identity string) (*message.Message, error) {
	metadata, err := decodeMetadata(e.Metadata)
	msg := message.NewMessage(e.ID, e.Payload)
	msg.Metadata = metadata
	put := func(key, value string) {
		if value != "" {
			metadata[key] = value
		}
	}
	seq := strconv.FormatInt(e.Seq, 10)
	metadata[outbox.KeyID] = identity + "." + seq + "." + strconv.FormatInt(e.CreatedAt.UnixMicro(), 36)
	metadata[outbox.KeySeq] = seq
	metadata[outbox.KeyTopic] = e.Topic
	metadata[outbox.KeyCreatedAt] = e.CreatedAt.UTC().Format(time.RFC3339Nano)
	if !e.OccurredAt.IsZero() {
		metadata[outbox.KeyOccurredAt] = e.OccurredAt.UTC().Format(time.RFC3339Nano)
	}
	put(outbox.KeyTenantID, e.TenantID)
	put(outbox.KeyAggregateType, e.AggregateType)
	put(outbox.KeyAggregateID, e.AggregateID)
	put(outbox.KeySchemaID, e.SchemaID)
	put(outbox.KeySchemaVersion, e.SchemaVersion)
	put(outbox.KeyOrdering, e.PartitionKey())
	return msg, err
}

// metadataHint is the size of a delivered message's metadata: the headers and a few of the application's own. A map of up to 14 entries is
// half the size of the next.
const metadataHint = 14

// flatObject reads what publishers write as a rule, {"k":"v",...} without blanks and escapes, several times faster than encoding/json. It
// returns false, with anything in m, for all else.
func flatObject(text string, m message.Metadata) bool {
	next := func(start int) (string, int) { // a string literal at start, and where it ends
		if start >= len(text) || text[start] != '"' {
			return "", -1
		}
		for i := start + 1; i < len(text); i++ {
			switch c := text[i]; {
			case c == '"':
				return text[start+1 : i], i + 1
			case c == '\\' || c < ' ':
				return "", -1
			}
		}
		return "", -1
	}
	if !utf8.ValidString(text) || text[0] != '{' {
		return false
	}
	for i := 1; ; i++ {
		key, end := next(i)
		if end < 0 || end >= len(text) || text[end] != ':' {
			return false
		}
		value, end := next(end + 1)
		if end < 0 || end >= len(text) {
			return false
		}
		if !strings.HasPrefix(key, outbox.MetadataPrefix) {
			m[key] = value
		}
		switch i = end; text[i] {
		case '}':
			return i == len(text)-1
		case ',':
		default:
			return false
		}
	}
}

func decodeMetadata(text string) (message.Metadata, error) {
	if text == "" || text == "null" {
		return make(message.Metadata, metadataHint), nil
	}
	m := make(message.Metadata, metadataHint)
	if flatObject(text, m) {
		return m, nil
	}
	clear(m)
	if json.Unmarshal([]byte(text), (*map[string]string)(&m)) == nil {
		return withoutReserved(m), nil
	}
	var loose map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &loose); err != nil {
		return make(message.Metadata, metadataHint), fmt.Errorf("event_metadata is no JSON object: %w", err)
	}
	clear(m)
	for k, raw := range loose {
		var s string
		if json.Unmarshal(raw, &s) != nil {
			s = strings.TrimSpace(string(raw))
		}
		m[k] = s
	}
	return withoutReserved(m), nil
}

func withoutReserved(m message.Metadata) message.Metadata {
	for k := range m {
		if strings.HasPrefix(k, outbox.MetadataPrefix) {
			delete(m, k)
		}
	}
	return m
}

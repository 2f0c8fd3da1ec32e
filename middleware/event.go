package middleware

import (
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Metadata keys that describe an event. They are the same as in package schema, which this package does not import.
const (
	MetadataPrefix = "outbox_"

	KeyID            = MetadataPrefix + "id"
	KeyTopic         = MetadataPrefix + "topic"
	KeyTenantID      = MetadataPrefix + "tenant_id"
	KeyAggregateType = MetadataPrefix + "aggregate_type"
	KeyAggregateID   = MetadataPrefix + "aggregate_id"
	KeyOccurredAt    = MetadataPrefix + "occurred_at"
	KeyCreatedAt     = MetadataPrefix + "created_at"
	KeySchemaID      = MetadataPrefix + "schema_id"
	KeySchemaVersion = MetadataPrefix + "schema_version"
)

// Event is what conditions, sampling and transforms see of a message. They do not modify it, nor its payload.
type Event struct {
	ID, Topic                  string
	TenantID                   string
	AggregateType, AggregateID string
	SchemaID, SchemaVersion    string
	OccurredAt, CreatedAt      time.Time
	Payload                    []byte
	Metadata                   message.Metadata

	shared *opened // between Open and Close
}

// EventOf reads msg: its attributes from the metadata that the forwarder delivers with it. Without them the topic is the
// one that the handler is subscribed to. The id is the message's UUID.
//
// The event shares msg's payload and metadata.
func EventOf(msg *message.Message) Event {
	m := msg.Metadata
	e := Event{
		ID: msg.UUID, Topic: m[KeyTopic], TenantID: m[KeyTenantID],
		AggregateType: m[KeyAggregateType], AggregateID: m[KeyAggregateID],
		SchemaID: m[KeySchemaID], SchemaVersion: m[KeySchemaVersion],
		OccurredAt: parseTime(m[KeyOccurredAt]), CreatedAt: parseTime(m[KeyCreatedAt]),
		Payload: msg.Payload, Metadata: m,
	}
	if e.ID == "" {
		e.ID = m[KeyID]
	}
	if e.Topic == "" {
		e.Topic = message.SubscribeTopicFromCtx(msg.Context())
	}
	return e
}

func parseTime(text string) time.Time {
	if text == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}
	}
	return t
}

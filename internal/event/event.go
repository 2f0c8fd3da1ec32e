// Package event is an event as everything reads it that decides about one: conditions, samplers, transforms and routes.
package event

import (
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Event is one event. Nobody who reads it modifies it, its payload or its metadata.
//
// Package router documents the same struct for its users; pointers to the two convert into each other. The compiler refuses that when the
// fields differ.
type Event struct {
	ID, Topic                  string
	TenantID                   string
	AggregateType, AggregateID string
	SchemaID, SchemaVersion    string
	OccurredAt, CreatedAt      time.Time
	Payload                    []byte
	Metadata                   message.Metadata
	RoutingKey, RoutingConfig  string
}

// Of returns the event that msg carries: its attributes come from the metadata that a forwarder delivers. Without them the topic is the one
// that the handler subscribes to. The id is the message's UUID.
//
// The event shares msg's payload and metadata.
func Of(msg *message.Message) Event {
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

// parseTime returns the time that text spells, or the zero time.
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

package admin

import (
	"context"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// Event is one stored event.
type Event struct {
	Seq  int64 // unique in its table, in the order in which events were stored
	Slot int

	ID                            string // the message UUID, which need not be unique
	TenantID                      string
	AggregateType, AggregateID    string
	Topic                         string
	OccurredAt, CreatedAt         time.Time
	SchemaID, SchemaVersion       string
	Payload                       []byte
	PayloadSize                   int    // in bytes
	Metadata                      string // a JSON object of strings, or empty
	RoutingKey                    string
	RoutingConfig, RoutingVersion string
	OrderingKey                   string // of an event without an aggregate
}

// Key returns the ordering key: the aggregate's type and id when it has an id, else OrderingKey.
func (e *Event) Key() string { return (*store.Event)(e).Key() }

// Events returns those of the events seqs that exist, ordered by number. A payload longer than maxPayload bytes is left out.
func (c *Client) Events(ctx context.Context, seqs []int64, maxPayload int) ([]Event, error) {
	list, err := c.store.Events(ctx, seqs, maxPayload)
	return convert(list, func(e store.Event) Event { return Event(e) }), err
}

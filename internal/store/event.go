package store

import "time"

// Event is one row of the outbox: something the business did. Rows are never updated.
type Event struct {
	Seq  int64 // unique in its table, in the order the database gave numbers out
	Slot int

	ID                            string // the message UUID: free text, not unique
	TenantID                      string
	AggregateType, AggregateID    string
	Topic                         string
	OccurredAt, CreatedAt         time.Time
	SchemaID, SchemaVersion       string
	Payload                       []byte // nil for an event without a payload, and when it is longer than the read asked for; see PayloadSize
	PayloadSize                   int
	Metadata                      string // a JSON object of strings, or empty
	RoutingKey                    string
	RoutingConfig, RoutingVersion string
	OrderingKey                   string // used when there is no aggregate
}

// Key returns the ordering key: aggregate type and id when there is an id, else the key that the publisher gave, else "".
// Events without a key have no order.
func (e *Event) Key() string {
	if e.AggregateID != "" {
		return e.AggregateType + ":" + e.AggregateID
	}
	return e.OrderingKey
}

// PartitionKey returns what brokers partition by: the aggregate's id, else the ordering key, else "".
func (e *Event) PartitionKey() string {
	if e.AggregateID != "" {
		return e.AggregateID
	}
	return e.OrderingKey
}

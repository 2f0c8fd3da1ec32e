package outbox

import (
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/event"
)

// MetadataPrefix is reserved: metadata keys that start with it describe the event and are not stored as the user's own.
const MetadataPrefix = event.MetadataPrefix // "outbox_"

// Attributes of an event. An application sets them with the Set functions before it publishes; a delivered message carries them under the same keys.
const (
	KeyTenantID       = event.KeyTenantID       // "outbox_tenant_id"
	KeyAggregateType  = event.KeyAggregateType  // "outbox_aggregate_type"
	KeyAggregateID    = event.KeyAggregateID    // "outbox_aggregate_id"
	KeyOccurredAt     = event.KeyOccurredAt     // "outbox_occurred_at"
	KeySchemaID       = event.KeySchemaID       // "outbox_schema_id"
	KeySchemaVersion  = event.KeySchemaVersion  // "outbox_schema_version"
	KeyRoutingKey     = event.KeyRoutingKey     // "outbox_routing_key"
	KeyRoutingConfig  = event.KeyRoutingConfig  // "outbox_routing_config"
	KeyRoutingVersion = event.KeyRoutingVersion // "outbox_routing_version"
)

// Headers that the forwarder adds to each message. Publish leaves them out of a message that came from an outbox, and refuses them on any other.
const (
	// KeyID identifies the event among all outboxes, at every redelivery. Consumers deduplicate on it. It is not the message's UUID, which may repeat;
	// look an event up by [KeySeq].
	KeyID = event.KeyID // "outbox_id"
	// KeyTopic is the topic that the application published to.
	KeyTopic = event.KeyTopic // "outbox_topic"
	// KeySeq is the event's number in its table.
	KeySeq = event.KeySeq // "outbox_seq"
	// KeyEpoch is the lease epoch of the slot that the event was sent under.
	KeyEpoch = event.KeyEpoch // "outbox_epoch"
	// KeyTarget is the target of the routing config that the message was sent for.
	KeyTarget = event.KeyTarget // "outbox_target"
	// KeyOrdering is the key that brokers partition by: the aggregate's id, else the user's ordering key; absent without one.
	KeyOrdering = event.KeyOrdering // "outbox_key"
	// KeyCreatedAt is when the event was stored, in RFC 3339 and UTC.
	KeyCreatedAt = event.KeyCreatedAt // "outbox_created_at"
	// KeyCause is set on a fallback delivery: why the target it stands in for gave up.
	KeyCause = event.KeyCause // "outbox_cause"
)

var inputKeys = map[string]bool{
	KeyTenantID: true, KeyAggregateType: true, KeyAggregateID: true, KeyOccurredAt: true, KeySchemaID: true,
	KeySchemaVersion: true, KeyRoutingKey: true, KeyRoutingConfig: true, KeyRoutingVersion: true,
}

// settable reports whether key, which starts with MetadataPrefix, is one that applications may set.
func settable(key string) bool { return inputKeys[key] }

// SetTenant sets the tenant that msg belongs to.
func SetTenant(msg *message.Message, tenantID string) { set(msg, KeyTenantID, tenantID) }

// SetAggregate sets the aggregate that msg is about. Events of one aggregate are delivered in order.
func SetAggregate(msg *message.Message, aggregateType, aggregateID string) {
	set(msg, KeyAggregateType, aggregateType)
	set(msg, KeyAggregateID, aggregateID)
}

// SetOccurredAt sets when the event happened, to the microsecond. Defaults to the time of publishing.
func SetOccurredAt(msg *message.Message, t time.Time) {
	set(msg, KeyOccurredAt, t.UTC().Format(time.RFC3339Nano))
}

// SetSchema sets the schema that the payload follows.
func SetSchema(msg *message.Message, id, version string) {
	set(msg, KeySchemaID, id)
	set(msg, KeySchemaVersion, version)
}

// SetRoutingKey sends msg to one destination: name://topic, or a bare topic of the default publisher.
func SetRoutingKey(msg *message.Message, destination string) { set(msg, KeyRoutingKey, destination) }

// SetRoutingConfig gives msg its own routing config, in JSON, and the version of that config.
func SetRoutingConfig(msg *message.Message, config []byte, version string) {
	set(msg, KeyRoutingConfig, string(config))
	set(msg, KeyRoutingVersion, version)
}

// ID returns the value of [KeyID], or "" when msg did not come from an outbox.
func ID(msg *message.Message) string { return msg.Metadata.Get(KeyID) }

// Tenant returns the tenant that msg belongs to.
func Tenant(msg *message.Message) string { return msg.Metadata.Get(KeyTenantID) }

// Aggregate returns the aggregate that msg is about.
func Aggregate(msg *message.Message) (aggregateType, aggregateID string) {
	return msg.Metadata.Get(KeyAggregateType), msg.Metadata.Get(KeyAggregateID)
}

// Topic returns the topic that the application published to, which may differ from the one that msg was received from.
func Topic(msg *message.Message) string { return msg.Metadata.Get(KeyTopic) }

// OccurredAt returns when the event happened, or the zero time when msg does not say.
func OccurredAt(msg *message.Message) time.Time {
	t, err := time.Parse(time.RFC3339Nano, msg.Metadata.Get(KeyOccurredAt))
	if err != nil {
		return time.Time{}
	}
	return t
}

// Seq returns the number of the event in its table, or 0 when msg did not come from an outbox.
func Seq(msg *message.Message) int64 {
	n, err := strconv.ParseInt(msg.Metadata.Get(KeySeq), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// StripHeaders removes from msg all that an outbox has put there: the headers of its delivery, such as [KeyID], [KeyTopic], [KeySeq] and [KeyCause],
// which Publish leaves out by itself, and the attributes, such as tenant, aggregate, schema and time, which would otherwise go on with the message when
// it is published into another outbox.
func StripHeaders(msg *message.Message) {
	for k := range msg.Metadata {
		if strings.HasPrefix(k, MetadataPrefix) {
			delete(msg.Metadata, k)
		}
	}
}

func set(msg *message.Message, key, value string) {
	if msg.Metadata == nil {
		msg.Metadata = make(message.Metadata, 4)
	}
	if value == "" {
		delete(msg.Metadata, key)
		return
	}
	msg.Metadata[key] = value
}

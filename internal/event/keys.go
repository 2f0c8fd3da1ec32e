package event

// Keys of the metadata that describes an event and its delivery. Package outbox documents them.
const (
	MetadataPrefix = "outbox_"

	KeyTenantID       = MetadataPrefix + "tenant_id"
	KeyAggregateType  = MetadataPrefix + "aggregate_type"
	KeyAggregateID    = MetadataPrefix + "aggregate_id"
	KeyOccurredAt     = MetadataPrefix + "occurred_at"
	KeySchemaID       = MetadataPrefix + "schema_id"
	KeySchemaVersion  = MetadataPrefix + "schema_version"
	KeyRoutingKey     = MetadataPrefix + "routing_key"
	KeyRoutingConfig  = MetadataPrefix + "routing_config"
	KeyRoutingVersion = MetadataPrefix + "routing_version"
	KeyID             = MetadataPrefix + "id"
	KeyTopic          = MetadataPrefix + "topic"
	KeySeq            = MetadataPrefix + "seq"
	KeyEpoch          = MetadataPrefix + "epoch"
	KeyTarget         = MetadataPrefix + "target"
	KeyOrdering       = MetadataPrefix + "key"
	KeyCreatedAt      = MetadataPrefix + "created_at"
	KeyCause          = MetadataPrefix + "cause"
)

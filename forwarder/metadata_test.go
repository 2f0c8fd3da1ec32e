package forwarder_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/event"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// Middlewares must know the keys without knowing the package that stores them.
func TestMiddlewaresAndSchemaAgreeOnMetadataKeys(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]string{
		{event.MetadataPrefix, schema.MetadataPrefix}, {event.KeyID, schema.KeyID}, {event.KeyTopic, schema.KeyTopic},
		{event.KeyTenantID, schema.KeyTenantID}, {event.KeyAggregateType, schema.KeyAggregateType},
		{event.KeyAggregateID, schema.KeyAggregateID}, {event.KeyOccurredAt, schema.KeyOccurredAt},
		{event.KeyCreatedAt, schema.KeyCreatedAt}, {event.KeySchemaID, schema.KeySchemaID},
		{event.KeySchemaVersion, schema.KeySchemaVersion},
	} {
		require.Equal(t, pair[0], pair[1])
	}
}

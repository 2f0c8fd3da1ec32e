package forwarder_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// Middlewares must know the keys without knowing the package that stores them.
func TestMiddlewaresAndSchemaAgreeOnMetadataKeys(t *testing.T) {
	t.Parallel()
	for _, pair := range [][2]string{
		{middleware.MetadataPrefix, schema.MetadataPrefix}, {middleware.KeyID, schema.KeyID}, {middleware.KeyTopic, schema.KeyTopic},
		{middleware.KeyTenantID, schema.KeyTenantID}, {middleware.KeyAggregateType, schema.KeyAggregateType},
		{middleware.KeyAggregateID, schema.KeyAggregateID}, {middleware.KeyOccurredAt, schema.KeyOccurredAt},
		{middleware.KeyCreatedAt, schema.KeyCreatedAt}, {middleware.KeySchemaID, schema.KeySchemaID},
		{middleware.KeySchemaVersion, schema.KeySchemaVersion},
	} {
		require.Equal(t, pair[0], pair[1])
	}
}

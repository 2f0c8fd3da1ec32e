package schema_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/schema"
)

func TestDialectIsChecked(t *testing.T) {
	t.Parallel()
	_, err := schema.NewMigrator(nil, schema.Config{})
	require.ErrorContains(t, err, "database is nil")
	require.ErrorIs(t, schema.WriteSQL(t.Output(), schema.Config{Dialect: "oracle"}, "up"), schema.ErrUnknownDialect)
}

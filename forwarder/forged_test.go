package forwarder_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// Escapes get a reserved key past the check of an INSERT. What arrives is what the columns say.
func TestMetadataOfAnInsertForgesNoHeader(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		_, err := db.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload, event_metadata) VALUES ('t', '1', '{"\u006futbox_tenant_id":"forged","outbox":"mine"}')`)
		require.NoError(t, err)
		rec := newRecorder()
		start(t, db, forwarder.SubscriberConfig{}, rec)
		rec.arrives(t, "t", "1")
		msg := rec.got["t"][0]
		require.Empty(t, outbox.Tenant(msg))
		require.Equal(t, "mine", msg.Metadata["outbox"])
	})
}

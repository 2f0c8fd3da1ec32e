package store_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// A rehearsal changes nothing, and fails as the real thing would.
func TestRehearse(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		s, err := store.Open(t.Context(), db, schema.Config{})
		require.NoError(t, err)
		for range 3 {
			_, err = db.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload) VALUES ('orders', '{}')`)
			require.NoError(t, err)
		}
		_, err = db.ExecContext(t.Context(), `INSERT INTO outbox_deliveries (seq, target, slot, destination, state, attempts) SELECT 1, 'search', slot, 'search', 'waiting', 1 FROM outbox WHERE seq = 1`)
		require.NoError(t, err)
		require.NoError(t, s.Rehearse(t.Context()))
		for table, want := range map[string]int{"outbox": 3, "outbox_pending": 3, "outbox_deliveries": 1} {
			var n int
			require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM `+table).Scan(&n))
			require.Equal(t, want, n, table)
		}
		_, err = db.ExecContext(t.Context(), `ALTER TABLE outbox_pending RENAME TO elsewhere`)
		require.NoError(t, err)
		require.Error(t, s.Rehearse(t.Context()))
	})
}

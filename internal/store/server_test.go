package store_test

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// The key that has most of a backlog is named as operators pause it.
func TestHottestKey(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		s := open(t, db)
		hottest := func() store.KeyShare {
			k, err := s.HottestKey(t.Context())
			require.NoError(t, err)
			return k
		}
		require.Zero(t, hottest())
		insert := func(n int, columns, values string) {
			t.Helper()
			_, err := db.ExecContext(t.Context(), `WITH RECURSIVE g (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < `+strconv.Itoa(n)+`)
				INSERT INTO outbox (topic, payload, `+columns+`) SELECT 't', '', `+values+` FROM g`)
			require.NoError(t, err)
		}
		insert(50, "tenant_id", "''")
		require.Zero(t, hottest(), "without a key there is no order")
		insert(300, "aggregate_type, aggregate_id", "'order', '17'")
		insert(50, "ordering_key", "'a' || i")
		require.Equal(t, store.KeyShare{Key: "order:17", Of: 300, Seen: 400}, hottest())
		_, err := db.ExecContext(context.Background(), `DELETE FROM outbox_pending WHERE seq BETWEEN 51 AND 350`)
		require.NoError(t, err)
		require.Equal(t, 1, hottest().Of)
	})
}

// Connections of clients count, whoever asks. What the server does not take from max_connections does not.
func TestConnections(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	server := testdb.NewServer(t)
	admin := testdb.Migrated(t, server.Open())
	for _, query := range []string{`CREATE ROLE app LOGIN`, `GRANT SELECT ON ALL TABLES IN SCHEMA public TO app`} {
		_, err := admin.ExecContext(ctx, query)
		require.NoError(t, err)
	}
	require.NoError(t, admin.Close())
	connect := func(more string) {
		t.Helper()
		conn, err := pgx.Connect(ctx, server.DSN()+more)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
	}
	for range 3 {
		connect("")
	}
	used := func(user string) (used, most int) {
		t.Helper()
		db := testdb.Open(t, strings.Replace(server.DSN(), "postgres@", user+"@", 1))
		defer db.Close()
		db.SetMaxOpenConns(1)
		s, err := store.Open(ctx, db, schema.Config{})
		require.NoError(t, err)
		used, most, err = s.Connections(ctx)
		require.NoError(t, err)
		return used, most
	}
	n, most := used("app")
	require.Equal(t, 3, n, "of a role whose processes this one may not look into")
	require.Equal(t, 97, most)
	sender, err := pgconn.Connect(ctx, server.DSN()+"&replication=database") // counts for max_wal_senders
	require.NoError(t, err)
	t.Cleanup(func() { _ = sender.Close(context.Background()) })
	await.That(t, func() bool { n, _ := used("postgres"); return n == 3 }, "app has gone")
}

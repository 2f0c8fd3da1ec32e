package forwarder_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/router"
)

// Three forwarders that start and stop together get in each other's way, which a database refuses under a strict isolation: nobody fails, nothing
// stays behind, and everything is delivered.
func TestForwardersUnderEveryDefaultIsolation(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"serializable", "repeatable read"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			const replicas, rounds, events = 3, 4, 30
			dsn := testdb.PostgresDatabase(t)
			u, err := url.Parse(dsn)
			require.NoError(t, err)
			_, err = testdb.Open(t, dsn).ExecContext(t.Context(), fmt.Sprintf(`ALTER DATABASE %s SET default_transaction_isolation = '%s'`, strings.TrimPrefix(u.Path, "/"), level))
			require.NoError(t, err)
			db := testdb.Migrated(t, testdb.Open(t, dsn))
			var now string
			require.NoError(t, db.QueryRowContext(t.Context(), `SHOW transaction_isolation`).Scan(&now))
			require.Equal(t, level, now)
			logs, rec := watermill.NewCaptureLogger(), newRecorder()
			rec.fail = failTopic("dead")
			table := routes(t)
			for round := range rounds {
				ctx, cancel := context.WithCancel(t.Context())
				var all sync.WaitGroup
				for range replicas {
					f, err := forwarder.New(testdb.Open(t, dsn), map[string]message.Publisher{"sink": rec}, forwarder.Config{Routes: table}, logs)
					require.NoError(t, err)
					all.Go(func() {
						if err := f.Run(ctx); err != nil {
							t.Error(err)
						}
					})
				}
				publishMany(t, db, table, round, events)
				rec.arrive(t, "orders", (round+1)*events)
				cancel()
				all.Wait()
				require.Zero(t, count(t, db, `SELECT count(*) FROM outbox_forwarders`), "nobody is left in the group")
				require.Zero(t, count(t, db, `SELECT count(*) FROM outbox_slots WHERE owner IS NOT NULL`))
			}
			require.Empty(t, logs.Captured()[watermill.ErrorLogLevel])
			require.Equal(t, rounds*events, rec.count("orders"), "nothing is sent twice")
		})
	}
}

func publishMany(t *testing.T, db *sql.DB, table *router.Table, round, events int) {
	t.Helper()
	for i := range events {
		publishRouted(t, db, table, "orders", keyed(fmt.Sprint(i%5), fmt.Sprintf("%d.%d", round, i)))
	}
}

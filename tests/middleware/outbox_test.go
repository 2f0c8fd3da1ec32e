package middleware_test

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// openOutbox returns the outbox of db as a Pub/Sub. What came out of it may be published to it again.
func openOutbox(t *testing.T, db *sql.DB) pubSub {
	t.Helper()
	d, err := schema.DialectOf(db)
	require.NoError(t, err)
	pub, err := outbox.NewPublisher(db, outbox.Config{Dialect: d}, nil)
	require.NoError(t, err)
	sub, err := forwarder.NewSubscriber(db, forwarder.SubscriberConfig{
		RetryPolicy: middleware.RetryPolicy{MaxAttempts: 10, InitialInterval: time.Millisecond, Multiplier: 1},
		// Some thirty subscriptions are open at once, each with a poll of its own; with the race detector SQLite has to do with nothing else.
		SleepIdle: 50 * time.Millisecond, SleepIdleMax: 500 * time.Millisecond,
	}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sub.Close()) })
	return pubSub{pub: pub, sub: sub, durable: true}
}

func TestOutbox(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		for _, reversed := range []bool{false, true} {
			t.Run(fmt.Sprintf("reversed %v", reversed), func(t *testing.T) {
				testChain(t, openOutbox(t, db), reversed)
				require.Equal(t, map[string]string{"fails": "DEAD 3", "hopeless": "DEAD 1", "no JSON": "DEAD 1"}, unfinished(t, db))
				_, err := db.ExecContext(t.Context(), `DELETE FROM outbox_deliveries`)
				require.NoError(t, err)
			})
		}
	})
}

func TestOutboxCancellationIsNoFailure(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		for _, reversed := range []bool{false, true} {
			t.Run(fmt.Sprintf("reversed %v", reversed), func(t *testing.T) {
				testCancellation(t, func(t *testing.T) pubSub { return openOutbox(t, db) }, reversed, func(round int) {
					if round == 0 {
						require.Equal(t, map[string]string{"1": "NEW 0"}, unfinished(t, db))
						return
					}
					require.Empty(t, unfinished(t, db))
				})
			})
		}
	})
}

// unfinished returns status and attempts of the events that are not SENT, by id.
func unfinished(t *testing.T, db *sql.DB) map[string]string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT id, status, retry_count FROM outbox_events WHERE status <> 'SENT' AND status <> 'SKIPPED'`)
	require.NoError(t, err)
	defer rows.Close()
	got := map[string]string{}
	for rows.Next() {
		var id, status string
		var n int
		require.NoError(t, rows.Scan(&id, &status, &n))
		got[id] = fmt.Sprintf("%s %d", status, n)
	}
	require.NoError(t, rows.Err())
	return got
}

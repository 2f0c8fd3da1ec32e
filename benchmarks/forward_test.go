package benchmarks_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/benchmarks/internal/backlog"
	"github.com/bento-outbox/watermill-outbox/benchmarks/internal/sink"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

const keys = 10_000

// BenchmarkForward drains a backlog into nothing; an iteration is one backlog.
func BenchmarkForward(b *testing.B) {
	b.Run("postgres", func(b *testing.B) {
		db := testdb.Postgres(b)
		forward(b, db, 20_000, fillPostgres)
	})
	b.Run("sqlite", func(b *testing.B) {
		db := testdb.SQLite(b)
		forward(b, db, 5_000, fillSQLite)
	})
}

func forward(b *testing.B, db *sql.DB, events int, fill func(testing.TB, *sql.DB, []int32)) {
	of := backlog.Keys(events, keys, 0)
	for range b.N {
		b.StopTimer()
		fill(b, db, of)
		check := sink.New(nil, events, keys)
		f, err := forwarder.New(db, map[string]message.Publisher{"default": check}, forwarder.Config{}, watermill.NopLogger{})
		require.NoError(b, err)
		ctx, cancel := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		b.StartTimer()
		go func() { ended <- f.Run(ctx) }()
		select {
		case <-check.Done():
		case err := <-ended:
			b.Fatalf("the forwarder ended before the backlog was empty: %v", err)
		}
		b.StopTimer()
		cancel()
		require.NoError(b, <-ended)
		require.NoError(b, check.Counts().Err())
		b.StartTimer()
	}
	b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func fillPostgres(tb testing.TB, db *sql.DB, of []int32) {
	tb.Helper()
	c, err := db.Conn(tb.Context())
	require.NoError(tb, err)
	defer c.Close()
	require.NoError(tb, c.Raw(func(driver any) error {
		return backlog.Fill(tb.Context(), driver.(*stdlib.Conn).Conn(), backlog.Ours(backlog.PayloadSize), of)
	}))
}

func fillSQLite(tb testing.TB, db *sql.DB, of []int32) {
	tb.Helper()
	tx, err := db.BeginTx(tb.Context(), nil)
	require.NoError(tb, err)
	defer func() { _ = tx.Rollback() }()
	insert, err := tx.PrepareContext(tb.Context(), `INSERT INTO outbox (id, aggregate_type, aggregate_id, topic, payload, event_metadata)
		VALUES (?, 'order', ?, ?, ?, ?)`)
	require.NoError(tb, err)
	defer insert.Close()
	for i, key := range of {
		id := sink.ID(int(key), i+1)
		_, err := insert.ExecContext(tb.Context(), id, int(key), backlog.Topic, string(backlog.Payload(int(key), i+1)), `{"correlation_id":"`+id+`"}`)
		require.NoError(tb, err)
	}
	require.NoError(tb, tx.Commit())
}

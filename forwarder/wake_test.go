package forwarder_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// A forwarder that would sleep for an hour looks at once when it is woken.
var sleeper = forwarder.SubscriberConfig{SleepBusy: time.Hour, SleepIdle: time.Hour, SleepIdleMax: time.Hour}

func TestWakeLooksAtOnce(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		rec := newRecorder()
		f, err := forwarder.New(db, map[string]message.Publisher{"x": rec}, forwarder.Config{Subscriber: sleeper}, logger(t))
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() { done <- f.Run(context.WithoutCancel(t.Context())) }()
		publish(t, db, "t", keyed("a", "first"))
		eventually(t, "the first has come", func() bool {
			f.Wake() // it may have looked before the event was there
			return len(rec.payloads("t")) == 1
		})
		publish(t, db, "t", keyed("a", "second"))
		f.Wake()
		eventually(t, "the second has come", func() bool { return len(rec.payloads("t")) == 2 })
		require.NoError(t, f.Close())
		require.NoError(t, <-done)
	})
}

func TestNotifyWakesThoseWhoListen(t *testing.T) {
	t.Parallel()
	db := testdb.Postgres(t)
	cfg := sleeper
	cfg.Listen = true
	rec := newRecorder()
	run(t, db, forwarder.Config{Subscriber: cfg}, map[string]message.Publisher{"x": rec})
	store := func(payload string) {
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer func() { _ = tx.Rollback() }()
		p, err := outbox.NewPublisher(tx, outbox.Config{Notify: true}, logger(t))
		require.NoError(t, err)
		require.NoError(t, p.Publish("t", keyed("a", payload)))
		require.NoError(t, tx.Commit())
	}
	listening := `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'`
	eventually(t, "it listens", func() bool { return count(t, db, listening) == 1 })
	store("first")
	eventually(t, "the first has come", func() bool { return len(rec.payloads("t")) == 1 })
	store("second")
	eventually(t, "the second has come", func() bool { return len(rec.payloads("t")) == 2 })

	_, err := db.Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'`)
	require.NoError(t, err)
	eventually(t, "it listens again", func() bool { return count(t, db, listening) == 1 })
	store("third")
	eventually(t, "the third has come", func() bool { return len(rec.payloads("t")) == 3 })
}

func TestNotifyAndListenNeedPostgreSQL(t *testing.T) {
	t.Parallel()
	db := testdb.SQLite(t)
	_, err := forwarder.NewSubscriber(db, forwarder.SubscriberConfig{Listen: true}, nil)
	require.ErrorContains(t, err, "Listen needs PostgreSQL and the driver pgx")
	cfg := outbox.Config{Dialect: schema.SQLite, Notify: true}
	_, err = outbox.NewPublisher(db, cfg, nil)
	require.ErrorContains(t, err, "Notify is for PostgreSQL")
}

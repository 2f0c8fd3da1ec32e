// Package conformance runs Watermill's own Pub/Sub suite on the outbox.
package conformance_test

import (
	"database/sql"
	"os"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// keyedByTopic gives every message its topic as ordering key, so that all of them are one line.
type keyedByTopic struct{ message.Publisher }

func (p keyedByTopic) Publish(topic string, messages ...*message.Message) error {
	for _, m := range messages {
		outbox.SetAggregate(m, "topic", topic)
	}
	return p.Publisher.Publish(topic, messages...)
}

func suite(t *testing.T, db *sql.DB, keyed bool) {
	d, err := schema.DialectOf(db)
	require.NoError(t, err)
	construct := func(t *testing.T) (message.Publisher, message.Subscriber) {
		pub, err := outbox.NewPublisher(db, outbox.Config{Dialect: d}, nil)
		require.NoError(t, err)
		sub, err := forwarder.NewSubscriber(db, forwarder.SubscriberConfig{
			// A nack is to be answered at once, however often.
			RetryPolicy:  middleware.RetryPolicy{MaxAttempts: 1000, Multiplier: 1},
			CloseTimeout: time.Second,
			// The suite opens some fifty subscriptions at once, each with a poll of its own.
			SleepIdle: 20 * time.Millisecond, SleepIdleMax: 200 * time.Millisecond,
		}, watermill.NewStdLogger(false, false))
		require.NoError(t, err)
		if keyed {
			return keyedByTopic{pub}, sub
		}
		return pub, sub
	}
	tests.TestPubSub(t, tests.Features{
		ConsumerGroups:      false, // an outbox delivers an event once, not once a group
		ExactlyOnceDelivery: false, // declared so that the tests of Close and of errors run
		GuaranteedOrder:     keyed,
		Persistent:          true,
		// Fifty subscriptions of SQLite's one writer, with the race detector, take minutes where two cores have other tests to run.
		ForceShort: d == schema.SQLite && os.Getenv("CI") != "",
	}, construct, nil)
}

// subtests run in parallel with each other and end before the database is closed.
func grouped(t *testing.T, f func(t *testing.T)) { t.Run("suite", f) }

func TestSQLite(t *testing.T) {
	db := testdb.SQLite(t)
	db.SetMaxOpenConns(2) // waiting for the pool is cheaper than SQLite's own waiting for its one writer
	grouped(t, func(t *testing.T) { suite(t, db, false) })
}

func TestSQLiteInOrder(t *testing.T) {
	db := testdb.SQLite(t)
	db.SetMaxOpenConns(2) // waiting for the pool is cheaper than SQLite's own waiting for its one writer
	grouped(t, func(t *testing.T) { suite(t, db, true) })
}

func TestPostgres(t *testing.T) {
	db := testdb.Postgres(t)
	db.SetMaxOpenConns(60)
	grouped(t, func(t *testing.T) { suite(t, db, false) })
}

func TestPostgresInOrder(t *testing.T) {
	db := testdb.Postgres(t)
	db.SetMaxOpenConns(60)
	grouped(t, func(t *testing.T) { suite(t, db, true) })
}

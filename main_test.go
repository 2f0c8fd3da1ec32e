package outbox_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func publisherConfig(db *sql.DB) outbox.Config {
	d, err := schema.DialectOf(db)
	if err != nil {
		panic(err)
	}
	return outbox.Config{Dialect: d}
}

func keyed(key, payload string) *message.Message {
	m := message.NewMessage(watermill.NewUUID(), []byte(payload))
	outbox.SetAggregate(m, "order", key)
	return m
}

func begin(t testing.TB, db *sql.DB) *sql.Tx {
	t.Helper()
	tx, err := db.BeginTx(context.Background(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	return tx
}

func publish(t testing.TB, db *sql.DB, topic string, msgs ...*message.Message) {
	t.Helper()
	tx := begin(t, db)
	p, err := outbox.NewPublisher(tx, publisherConfig(db), nil)
	require.NoError(t, err)
	require.NoError(t, p.Publish(topic, msgs...))
	require.NoError(t, tx.Commit())
}

package forwarder_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// recorder is a destination that remembers what it got, by topic, and fails when told to.
type recorder struct {
	mu   sync.Mutex
	got  map[string][]*message.Message
	fail func(topic string, msg *message.Message) error

	failures int // for the use of fail
}

func newRecorder() *recorder { return &recorder{got: map[string][]*message.Message{}} }

func (r *recorder) Publish(topic string, msgs ...*message.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range msgs {
		if r.fail != nil {
			if err := r.fail(topic, m); err != nil {
				return err
			}
		}
		r.got[topic] = append(r.got[topic], m)
	}
	return nil
}
func (r *recorder) Close() error { return nil }

func (r *recorder) payloads(topic string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	for _, m := range r.got[topic] {
		list = append(list, string(m.Payload))
	}
	return list
}

func (r *recorder) setFail(f func(topic string, msg *message.Message) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = f
}

func dialect(db *sql.DB) schema.Dialect {
	d, err := schema.DialectOf(db)
	if err != nil {
		panic(err)
	}
	return d
}

func publish(t testing.TB, db *sql.DB, topic string, msgs ...*message.Message) {
	t.Helper()
	tx, err := db.Begin()
	require.NoError(t, err)
	p, err := outbox.NewPublisher(tx, outbox.Config{Dialect: dialect(db)}, nil)
	require.NoError(t, err)
	require.NoError(t, p.Publish(topic, msgs...))
	require.NoError(t, tx.Commit())
}

func keyed(key, payload string) *message.Message {
	m := message.NewMessage(watermill.NewUUID(), []byte(payload))
	outbox.SetAggregate(m, "order", key)
	return m
}

func logger(t testing.TB) watermill.LoggerAdapter {
	if testing.Verbose() {
		return watermill.NewStdLogger(false, false)
	}
	return watermill.NopLogger{}
}

func drain(t testing.TB, db *sql.DB, cfg forwarder.Config, pubs map[string]message.Publisher) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
	defer cancel()
	f, err := forwarder.New(db, pubs, cfg, logger(t))
	require.NoError(t, err)
	require.NoError(t, f.Drain(ctx))
}

func statuses(t testing.TB, db *sql.DB) map[string]int {
	t.Helper()
	rows, err := db.Query(`SELECT status, count(*) FROM outbox_events GROUP BY status`)
	require.NoError(t, err)
	defer rows.Close()
	m := map[string]int{}
	for rows.Next() {
		var s string
		var n int
		require.NoError(t, rows.Scan(&s, &n))
		m[s] = n
	}
	require.NoError(t, rows.Err())
	return m
}

func TestDrainDeliversInOrderOfTheKey(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		const keys, each = 20, 50
		for i := range each {
			var batch []*message.Message
			for k := range keys {
				batch = append(batch, keyed(fmt.Sprint(k), fmt.Sprintf("%d", i)))
			}
			publish(t, db, "orders", batch...)
		}
		rec := newRecorder()
		drain(t, db, forwarder.Config{Subscriber: forwarder.SubscriberConfig{BatchSize: 100}}, map[string]message.Publisher{"kafka": rec})
		next := map[string]int{}
		for _, m := range rec.got["orders"] {
			key := m.Metadata.Get(outbox.KeyAggregateID)
			require.Equal(t, fmt.Sprint(next[key]), string(m.Payload), "key %s", key)
			next[key]++
		}
		require.Len(t, next, keys)
		require.Len(t, rec.got["orders"], keys*each)
		require.Equal(t, map[string]int{"SENT": keys * each}, statuses(t, db))
	})
}

func TestRolledBackEventsAreNotSent(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		tx, err := db.Begin()
		require.NoError(t, err)
		p, err := outbox.NewPublisher(tx, outbox.Config{Dialect: dialect(db)}, nil)
		require.NoError(t, err)
		require.NoError(t, p.Publish("orders", keyed("1", "gone")))
		require.NoError(t, tx.Rollback())
		publish(t, db, "orders", keyed("1", "kept"))
		rec := newRecorder()
		drain(t, db, forwarder.Config{}, map[string]message.Publisher{"kafka": rec})
		require.Equal(t, []string{"kept"}, rec.payloads("orders"))
	})
}

func TestFailedDeliveryIsRetriedInOrderAndOthersFlow(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		rec := newRecorder()
		failures := 0
		rec.fail = func(_ string, m *message.Message) error {
			if string(m.Payload) == "a1" && failures < 2 {
				failures++
				return errors.New("not now")
			}
			return nil
		}
		publish(t, db, "orders", keyed("a", "a1"), keyed("b", "b1"), keyed("a", "a2"), keyed("a", "a3"))
		publish(t, db, "orders", keyed("a", "a4"))
		ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
		defer cancel()
		f, err := forwarder.New(db, map[string]message.Publisher{"kafka": rec}, forwarder.Config{}, logger(t))
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		await.That(t, func() bool { return len(rec.payloads("orders")) == 5 })
		require.NoError(t, f.Close())
		require.NoError(t, <-done)
		require.Equal(t, "b1", rec.payloads("orders")[0])
		require.Equal(t, []string{"a1", "a2", "a3", "a4"}, rec.payloads("orders")[1:])
		require.Equal(t, map[string]int{"SENT": 5}, statuses(t, db))
	})
}

func TestUnknownDestinationIsDeadAtOnce(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		m := keyed("a", "1")
		outbox.SetRoutingKey(m, "nowhere://x")
		publish(t, db, "orders", m, keyed("a", "2"))
		rec := newRecorder()
		drain(t, db, forwarder.Config{}, map[string]message.Publisher{"kafka": rec})
		require.Equal(t, []string{"2"}, rec.payloads("orders"))
		require.Equal(t, map[string]int{"SENT": 1, "DEAD": 1}, statuses(t, db))
		var text string
		require.NoError(t, db.QueryRow(`SELECT error_message FROM outbox_events WHERE status = 'DEAD'`).Scan(&text))
		require.Contains(t, text, `no publisher "nowhere"`)
	})
}

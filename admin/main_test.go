package admin_test

import (
	"context"
	"database/sql"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a destination that keeps what it gets.
type recorder struct {
	mu   sync.Mutex
	got  map[string][]string // payloads by topic
	fail func(topic string, msg *message.Message) error
}

func newRecorder() *recorder { return &recorder{got: map[string][]string{}} }

func (r *recorder) Publish(topic string, msgs ...*message.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range msgs {
		if r.fail != nil {
			if err := r.fail(topic, m); err != nil {
				return err
			}
		}
		r.got[topic] = append(r.got[topic], string(m.Payload))
	}
	return nil
}

func (r *recorder) Close() error { return nil }

func (r *recorder) payloads(topic string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.got[topic]
}

func (r *recorder) setFail(f func(topic string, msg *message.Message) error) { r.fail = f }

func dialect(db *sql.DB) schema.Dialect {
	d, err := schema.DialectOf(db)
	if err != nil {
		panic(err)
	}
	return d
}

func logger(t testing.TB) watermill.LoggerAdapter {
	if testing.Verbose() {
		return watermill.NewStdLogger(false, false)
	}
	return watermill.NopLogger{}
}

func keyed(key, payload string) *message.Message {
	m := message.NewMessage(watermill.NewUUID(), []byte(payload))
	outbox.SetAggregate(m, "order", key)
	return m
}

func publish(t testing.TB, db *sql.DB, topic string, msgs ...*message.Message) {
	t.Helper()
	p, err := outbox.NewPublisher(db, outbox.Config{}, nil)
	require.NoError(t, err)
	require.NoError(t, p.Publish(topic, msgs...))
}

func drain(t testing.TB, db *sql.DB, cfg forwarder.Config, pubs map[string]message.Publisher) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
	defer cancel()
	f, err := forwarder.New(db, pubs, cfg, logger(t))
	require.NoError(t, err)
	require.NoError(t, f.Drain(ctx))
}

// statuses counts events by status.
func statuses(t testing.TB, db *sql.DB) map[string]int {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT status, count(*) FROM outbox_events GROUP BY status`)
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

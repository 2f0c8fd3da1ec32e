package statuspage_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	webhook "github.com/bento-outbox/watermill-outbox/adapters/http"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/monitor"
	"github.com/bento-outbox/watermill-outbox/monitor/statuspage"
)

const token = "correct horse battery"

func quoted(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}

// serve returns the address of the status page of an outbox.
func serve(t *testing.T, db *sql.DB, cfg statuspage.Config) string {
	t.Helper()
	m, err := monitor.New(t.Context(), db, monitor.Config{Interval: 100 * time.Millisecond}, nil)
	require.NoError(t, err)
	page, err := statuspage.New(m, cfg, nil)
	require.NoError(t, err)
	server := httptest.NewServer(http.StripPrefix("/outbox", page))
	t.Cleanup(server.Close)
	ctx, stop := context.WithCancel(context.Background())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		m.Watch(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-watched
	})
	return server.URL + "/outbox/"
}

// shop is a webhook that events are sent to, and a forwarder that sends them.
type shop struct {
	refuses atomic.Bool // 422, which no further attempt cures
	got     atomic.Int64
}

func open(t *testing.T, db *sql.DB) *shop {
	t.Helper()
	s := &shop{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if s.refuses.Load() {
			http.Error(w, "no", http.StatusUnprocessableEntity)
			return
		}
		s.got.Add(1)
	}))
	t.Cleanup(server.Close)
	pub, err := webhook.NewPublisher(webhook.Config{URL: server.URL}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pub.Close()) })
	f, err := forwarder.New(db, map[string]message.Publisher{"shop": pub}, forwarder.Config{DefaultPublisher: "shop"}, nil)
	require.NoError(t, err)
	r, err := message.NewRouter(message.RouterConfig{CloseTimeout: 30 * time.Second}, watermill.NopLogger{})
	require.NoError(t, err)
	f.AddTo(r)
	ended := make(chan error, 1)
	go func() { ended <- r.Run(context.WithoutCancel(t.Context())) }()
	t.Cleanup(func() {
		require.NoError(t, r.Close())
		require.NoError(t, <-ended)
		require.NoError(t, f.Close())
	})
	return s
}

func execute(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), statement)
	require.NoError(t, err, statement)
}

// insert stores an event for shop://orders.
func insert(t *testing.T, db *sql.DB, id string) {
	t.Helper()
	execute(t, db, insertion(id))
}

func insertion(id string) string {
	return fmt.Sprintf(`INSERT INTO outbox (id, tenant_id, topic, payload, routing_key) VALUES ('%s', 'acme', 'orders', '{}', 'shop://orders')`, id)
}

// becomes waits until an event has a status in the database.
func becomes(t *testing.T, db *sql.DB, id, status string) {
	t.Helper()
	await.That(t, func() bool {
		var got string
		err := db.QueryRowContext(t.Context(), `SELECT status FROM outbox_events WHERE id = '`+id+`'`).Scan(&got)
		return err == nil && got == status
	}, "%s does not become %s", id, status)
}

// bury makes n dead letters for shop://orders, numbered from 1.
func bury(t *testing.T, db *sql.DB, n int) {
	t.Helper()
	for i := range n {
		insert(t, db, fmt.Sprintf("event-%d", i+1))
	}
	execute(t, db, `DELETE FROM outbox_pending`)
	execute(t, db, `INSERT INTO outbox_deliveries (seq, target, slot, destination, state, attempts, error)
		SELECT seq, 'shop://orders', slot, 'shop://orders', 'dead', 5, 'post message to http://10.0.0.7/orders: server answered 422 Unprocessable Entity' FROM outbox`)
}

package forwarder_test

import (
	"context"
	"database/sql"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	wm "github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

// The deadline of a Timeout around the forwarder bounds a publish, and passing it is a failure that is retried.
func TestTimeoutBoundsAPublish(t *testing.T) {
	t.Parallel()
	positions(t, func(t *testing.T, db *sql.DB, on func(*forwarder.Forwarder, ...message.HandlerMiddleware) *message.Router) {
		rec, calls := newRecorder(), atomic.Int64{}
		slow := publisherFunc(func(topic string, msgs ...*message.Message) error {
			if calls.Add(1) == 1 {
				select {
				case <-msgs[0].Context().Done():
					return msgs[0].Context().Err()
				case <-time.After(await.Patience):
				}
			}
			return rec.Publish(topic, msgs...)
		})
		attempts := make(chan forwarder.Attempt, 10)
		f := newForwarder(t, db, slow, forwarder.SubscriberConfig{
			Lease: 5 * await.Patience, PublishTimeout: 2 * await.Patience, Hooks: forwarder.Hooks{Published: func(a forwarder.Attempt) { attempts <- a }},
		})
		on(f, wm.Timeout(2*time.Second))
		publish(t, db, "orders", keyed("a", "1"))
		require.ErrorIs(t, (<-attempts).Err, context.DeadlineExceeded)
		second := <-attempts
		require.NoError(t, second.Err)
		require.Equal(t, 2, second.Number, "the first was an attempt")
		waitForStatuses(t, db, map[string]int{"SENT": 1})
		require.Equal(t, []string{"1"}, rec.payloads("orders"))
	})
}

type publisherFunc func(topic string, msgs ...*message.Message) error

func (p publisherFunc) Publish(topic string, msgs ...*message.Message) error {
	return p(topic, msgs...)
}
func (publisherFunc) Close() error { return nil }

// An event that is late before anything is published fails, and says nothing about its destination.
func TestTimeoutThatPassedBefore(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		rec := newRecorder()
		f, err := forwarder.New(db, map[string]message.Publisher{"sink": rec}, forwarder.Config{BreakerFailures: 1}, logger(t))
		require.NoError(t, err)
		var passes atomic.Int64
		late := func(next message.HandlerFunc) message.HandlerFunc {
			return func(msg *message.Message) ([]*message.Message, error) {
				if passes.Add(1) == 1 {
					<-msg.Context().Done()
				}
				return next(msg)
			}
		}
		route(t, f, nil, []message.HandlerMiddleware{wm.Timeout(time.Second), late})
		publish(t, db, "orders", keyed("a", "1"))
		await.That(t, func() bool { return statuses(t, db)["FAILED"] == 1 })
		require.Empty(t, rec.payloads("orders"))
		var controls int
		require.NoError(t, db.QueryRow(`SELECT count(*) FROM outbox_controls`).Scan(&controls))
		require.Zero(t, controls, "the destination is not out of reach")
		waitForStatuses(t, db, map[string]int{"SENT": 1})
	})
}

// The deadline of the context that a forwarder runs with ends the forwarder and not a publish.
func TestDeadlineOfRunIsNoFailure(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		publish(t, db, "orders", keyed("a", "1"))
		rec := newRecorder()
		gate := &gatePublisher{Publisher: rec, open: make(chan struct{})}
		f := newForwarder(t, db, gate, forwarder.SubscriberConfig{RetryPolicy: middleware.RetryPolicy{MaxAttempts: 1, Multiplier: 1}})
		r, err := message.NewRouter(message.RouterConfig{CloseTimeout: await.Patience}, logger(t))
		require.NoError(t, err)
		f.AddTo(r)
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		await.That(t, func() bool { return gate.inside.Load() == 1 })
		<-ctx.Done()
		close(gate.open)
		require.NoError(t, <-ended)
		require.NoError(t, f.Close())
		require.Equal(t, []string{"1"}, rec.payloads("orders"))
		require.Equal(t, map[string]int{"SENT": 1}, statuses(t, db))
	})
}

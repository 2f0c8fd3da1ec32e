package forwarder_test

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

func newForwarder(t *testing.T, db *sql.DB, to message.Publisher, cfg forwarder.SubscriberConfig) *forwarder.Forwarder {
	t.Helper()
	cfg.SweepInterval = time.Hour
	f, err := forwarder.New(db, map[string]message.Publisher{"sink": to}, forwarder.Config{Subscriber: cfg}, logger(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

// route runs f on a Router with middlewares: those in before are added to the Router before f is, those in after to its handler.
func route(t *testing.T, f *forwarder.Forwarder, before, after []message.HandlerMiddleware) *message.Router {
	t.Helper()
	r, err := message.NewRouter(message.RouterConfig{CloseTimeout: await.Patience}, logger(t))
	require.NoError(t, err)
	r.AddMiddleware(before...)
	f.AddTo(r).AddMiddleware(after...)
	ended := make(chan error, 1)
	go func() { ended <- r.Run(context.Background()) }()
	<-r.Running()
	t.Cleanup(func() {
		require.NoError(t, r.Close())
		require.NoError(t, <-ended)
	})
	return r
}

func waitForStatuses(t *testing.T, db *sql.DB, want map[string]int) {
	t.Helper()
	var got map[string]int
	await.That(t, func() bool {
		got = statuses(t, db)
		return maps.Equal(got, want)
	}, "the statuses are %v", await.Later(func() string { return fmt.Sprint(got) }))
}

// runUntil runs f in one of its ways until the events that were published are sent.
func runUntil(t *testing.T, f *forwarder.Forwarder, db *sql.DB, way string, sent int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	switch way {
	case "drain":
		require.NoError(t, f.Drain(ctx))
		require.Equal(t, map[string]int{"SENT": sent}, statuses(t, db))
	case "run":
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		waitForStatuses(t, db, map[string]int{"SENT": sent})
		cancel()
		require.NoError(t, <-ended)
	case "router":
		r, err := message.NewRouter(message.RouterConfig{}, logger(t))
		require.NoError(t, err)
		f.AddTo(r)
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		waitForStatuses(t, db, map[string]int{"SENT": sent})
		require.NoError(t, r.Close())
		require.NoError(t, <-ended)
	}
}

func TestForwarderRunsAgain(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		rec := newRecorder()
		f := newForwarder(t, db, rec, forwarder.SubscriberConfig{})
		for i, way := range []string{"run", "run", "drain", "drain", "router", "router", "drain", "run", "router"} {
			publish(t, db, "orders", keyed("a", fmt.Sprint(i)))
			require.Error(t, f.Ready(t.Context()), "nothing of it runs")
			runUntil(t, f, db, way, i+1)
		}
		require.Equal(t, []string{"0", "1", "2", "3", "4", "5", "6", "7", "8"}, rec.payloads("orders"))
		require.NoError(t, f.Close())
	})
}

// A forwarder that runs in several ways at once is several members of its group, and none ends another.
func TestForwarderRunsBesideItself(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		rec := newRecorder()
		var owned atomic.Int64
		f := newForwarder(t, db, rec, forwarder.SubscriberConfig{Hooks: forwarder.Hooks{Slots: func(n int) { owned.Store(int64(n)) }}})
		slots := int64(store.Slots)
		if dialect(db) == schema.SQLite {
			slots = 1
		}
		route(t, f, nil, nil)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		ended := make(chan error, 2)
		for range 2 {
			go func() { ended <- f.Run(ctx) }()
		}
		await.That(t, func() bool { return f.Ready(ctx) == nil })
		sent := 0
		for range 3 {
			for i := range 20 {
				publish(t, db, "orders", keyed(fmt.Sprint(i), fmt.Sprint(sent)))
				sent++
			}
			require.NoError(t, f.Drain(ctx))
			require.Equal(t, map[string]int{"SENT": sent}, statuses(t, db))
		}
		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, <-ended)
		publish(t, db, "orders", keyed("a", "last"))
		waitForStatuses(t, db, map[string]int{"SENT": sent + 1})
		require.Len(t, rec.payloads("orders"), sent+1, "nothing is sent twice")
		await.That(t, func() bool { return owned.Load() == slots }, "the hook tells the slots of all")
	})
}

func TestClosedForwarderSaysSo(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		publish(t, db, "orders", keyed("a", "1"))
		f := newForwarder(t, db, newRecorder(), forwarder.SubscriberConfig{})
		require.NoError(t, f.Close())
		require.NoError(t, f.Close())
		require.ErrorIs(t, f.Run(t.Context()), forwarder.ErrClosed)
		require.ErrorIs(t, f.Drain(t.Context()), forwarder.ErrClosed)
		require.Equal(t, map[string]int{"NEW": 1}, statuses(t, db))
	})
}

// Drain that ends because of Close has not drained.
func TestCloseEndsDrainWithAnError(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		publish(t, db, "orders", keyed("a", "1"), keyed("a", "2"))
		rec := newRecorder()
		gate := &gatePublisher{Publisher: rec, open: make(chan struct{})}
		f := newForwarder(t, db, gate, forwarder.SubscriberConfig{})
		drained := make(chan error, 1)
		go func() { drained <- f.Drain(context.Background()) }()
		await.That(t, func() bool { return gate.inside.Load() == 1 })
		closed := make(chan error, 1)
		go func() { closed <- f.Close() }()
		await.That(t, func() bool { return f.Run(t.Context()) != nil }) // it is closing
		close(gate.open)
		require.NoError(t, <-closed)
		require.ErrorIs(t, <-drained, forwarder.ErrClosed)
		require.Equal(t, map[string]int{"SENT": 1, "NEW": 1}, statuses(t, db), "what was in flight is let end")
	})
}

// Abort does not wait for a publish, and gives the slots back.
func TestAbortHandsTheSlotsOver(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"run", "router"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			testdb.Each(t, func(t *testing.T, db *sql.DB) {
				publish(t, db, "orders", keyed("a", "1"), keyed("b", "2"))
				gate := &gatePublisher{Publisher: newRecorder(), open: make(chan struct{})}
				f := newForwarder(t, db, deaf{gate}, forwarder.SubscriberConfig{CloseTimeout: time.Hour})
				ended := make(chan error, 1)
				if way == "run" {
					go func() { ended <- f.Run(context.Background()) }()
				} else {
					route(t, f, nil, nil)
					ended <- nil
				}
				await.That(t, func() bool { return gate.inside.Load() == 2 })
				require.NoError(t, f.Abort())
				rec := newRecorder()
				drain(t, db, forwarder.Config{Subscriber: forwarder.SubscriberConfig{Lease: time.Hour}}, map[string]message.Publisher{"sink": rec})
				require.Len(t, rec.payloads("orders"), 2, "another serves the slots before the lease has ended")
				close(gate.open)
				require.NoError(t, <-ended)
			})
		})
	}
}

// deaf is a publisher that does not hear that it should end.
type deaf struct{ message.Publisher }

func (d deaf) Publish(topic string, msgs ...*message.Message) error {
	for _, m := range msgs {
		m.SetContext(context.WithoutCancel(m.Context()))
	}
	return d.Publisher.Publish(topic, msgs...)
}

// Events that wait in a middleware, as Throttle has them wait, have not begun: Close gives them back at once, and they are not sent after it.
func TestCloseGivesBackWhatWaitsInAMiddleware(t *testing.T) {
	t.Parallel()
	for _, position := range []string{"before", "after"} {
		t.Run(position, func(t *testing.T) {
			t.Parallel()
			testdb.Each(t, func(t *testing.T, db *sql.DB) {
				msgs, _ := ten(func(i int) string { return fmt.Sprint(i) })
				publish(t, db, "orders", msgs...)
				tokens, waiting := make(chan struct{}), atomic.Int64{}
				throttle := func(next message.HandlerFunc) message.HandlerFunc {
					return func(msg *message.Message) ([]*message.Message, error) {
						waiting.Add(1)
						<-tokens
						return next(msg)
					}
				}
				rec := newRecorder()
				f := newForwarder(t, db, rec, forwarder.SubscriberConfig{CloseTimeout: time.Hour})
				before, after := []message.HandlerMiddleware{throttle}, []message.HandlerMiddleware(nil)
				if position == "after" {
					before, after = after, before
				}
				r := route(t, f, before, after)
				for range 3 {
					tokens <- struct{}{}
				}
				waitForStatuses(t, db, map[string]int{"SENT": 3, "NEW": 7})
				await.That(t, func() bool { return waiting.Load() == 10 })
				require.NoError(t, f.Close())
				close(tokens)
				require.NoError(t, r.Close()) // waits for the handlers
				require.Len(t, rec.payloads("orders"), 3)
				require.Equal(t, map[string]int{"SENT": 3, "NEW": 7}, statuses(t, db))
			})
		})
	}
}

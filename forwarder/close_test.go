package forwarder_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

func subscriber(t testing.TB, db *sql.DB, cfg forwarder.SubscriberConfig) message.Subscriber {
	t.Helper()
	s, err := forwarder.NewSubscriber(db, cfg, logger(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func subscribe(t testing.TB, ctx context.Context, s message.Subscriber) <-chan *message.Message {
	t.Helper()
	ch, err := s.Subscribe(ctx, forwarder.AllTopics)
	require.NoError(t, err)
	return ch
}

func receive(t testing.TB, ch <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-ch:
		require.True(t, ok, "closed")
		return m
	case <-time.After(await.Patience):
		require.FailNow(t, "nothing came")
		return nil
	}
}

// receiveAll acks n messages and returns their payloads, sorted.
func receiveAll(t testing.TB, ch <-chan *message.Message, n int) []string {
	t.Helper()
	var list []string
	for range n {
		m := receive(t, ch)
		list = append(list, string(m.Payload))
		require.True(t, m.Ack())
	}
	slices.Sort(list)
	return list
}

func ten(key func(i int) string) (msgs []*message.Message, payloads []string) {
	for i := range 10 {
		m := message.NewMessage(watermill.NewUUID(), fmt.Appendf(nil, "%d", i))
		if key != nil {
			m = keyed(key(i), fmt.Sprint(i))
		}
		msgs, payloads = append(msgs, m), append(payloads, fmt.Sprint(i))
	}
	return msgs, payloads
}

func without(list []string, s string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(x string) bool { return x == s })
}

func quick() forwarder.SubscriberConfig {
	return forwarder.SubscriberConfig{CloseTimeout: 100 * time.Millisecond, Lease: 6 * time.Second, SweepInterval: time.Hour}
}

func TestCloseLosesNothing(t *testing.T) {
	t.Parallel()
	keys := map[string]func(int) string{
		"no key": nil, "one key": func(int) string { return "a" }, "many keys": func(i int) string { return fmt.Sprint(i) },
	}
	ends := map[string]func(t *testing.T, s message.Subscriber, cancel context.CancelFunc){
		"close":   func(t *testing.T, s message.Subscriber, _ context.CancelFunc) { require.NoError(t, s.Close()) },
		"context": func(_ *testing.T, _ message.Subscriber, cancel context.CancelFunc) { cancel() },
	}
	for keyName, key := range keys {
		for endName, end := range ends {
			t.Run(keyName+"/"+endName, func(t *testing.T) {
				t.Parallel()
				testdb.Each(t, func(t *testing.T, db *sql.DB) {
					msgs, payloads := ten(key)
					publish(t, db, "orders", msgs...)
					s := subscriber(t, db, quick())
					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					ch := subscribe(t, ctx, s)
					first := receive(t, ch)
					require.True(t, first.Ack())
					if keyName != "one key" {
						receive(t, ch) // by a handler that never answers
					}
					end(t, s, cancel)
					for range ch { // until it is closed; these are not acked either
					}
					require.NoError(t, s.Close())

					again := subscribe(t, context.Background(), subscriber(t, db, quick()))
					require.Equal(t, without(payloads, string(first.Payload)), receiveAll(t, again, 9))
					await.That(t, func() bool { return statuses(t, db)["SENT"] == 10 })
				})
			})
		}
	}
}

func TestHandlerThatNeverAcksHoldsItsKeyOnly(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		publish(t, db, "orders", keyed("a", "1"), keyed("a", "2"), keyed("b", "3"))
		s := subscriber(t, db, quick())
		ch := subscribe(t, context.Background(), s)
		one, three := receive(t, ch), receive(t, ch)
		if string(one.Payload) == "3" {
			one, three = three, one
		}
		require.Equal(t, []string{"1", "3"}, []string{string(one.Payload), string(three.Payload)})
		three.Ack()
		select {
		case m := <-ch:
			t.Fatalf("%s came before 1 was acked", m.Payload)
		case <-time.After(100 * time.Millisecond):
		}
		one.Ack()
		require.Equal(t, []string{"2"}, receiveAll(t, ch, 1))
	})
}

func TestCloseIsIdempotentAndConcurrent(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		s := subscriber(t, db, quick())
		ch := subscribe(t, context.Background(), s)
		done := make(chan error, 3)
		for range 3 {
			go func() { done <- s.Close() }()
		}
		for range 3 {
			require.NoError(t, <-done)
		}
		_, open := <-ch
		require.False(t, open)
		_, err := s.Subscribe(context.Background(), forwarder.AllTopics)
		require.ErrorIs(t, err, forwarder.ErrClosed)
		var members int
		require.NoError(t, db.QueryRow("SELECT count(*) FROM outbox_forwarders").Scan(&members))
		require.Zero(t, members)
	})
}

// Close of the Router cancels messages at once. What is being published then ends, is written down and does not come again.
func TestRouterCloseLetsDeliveriesEnd(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		msgs, payloads := ten(func(i int) string { return fmt.Sprint(i) })
		publish(t, db, "orders", msgs...)
		rec := newRecorder()
		gate := &gatePublisher{Publisher: rec, open: make(chan struct{})}
		cfg := forwarder.SubscriberConfig{Lease: 30 * time.Second, SweepInterval: time.Hour}
		f, err := forwarder.New(db, map[string]message.Publisher{"sink": gate}, forwarder.Config{Subscriber: cfg}, logger(t))
		require.NoError(t, err)
		r, err := message.NewRouter(message.RouterConfig{CloseTimeout: 20 * time.Second}, logger(t))
		require.NoError(t, err)
		contexts := make(chan context.Context, 10)
		f.AddTo(r).AddMiddleware(func(h message.HandlerFunc) message.HandlerFunc {
			return func(m *message.Message) ([]*message.Message, error) {
				contexts <- m.Context()
				return h(m)
			}
		})
		ran := make(chan error, 1)
		go func() { ran <- r.Run(context.Background()) }()
		await.That(t, func() bool { return gate.inside.Load() == 10 })
		closed := make(chan error, 1)
		go func() { closed <- r.Close() }()
		<-(<-contexts).Done()
		require.Zero(t, rec.count("orders"))
		close(gate.open)
		require.NoError(t, <-closed)
		require.NoError(t, <-ran)
		require.NoError(t, f.Close())
		got := rec.payloads("orders")
		slices.Sort(got)
		require.Equal(t, payloads, got)
		require.Zero(t, gate.cancelled.Load(), "a publish that has begun is let end")
		require.Equal(t, map[string]int{"SENT": 10}, statuses(t, db))
	})
}

// gatePublisher lets messages through when it is open.
type gatePublisher struct {
	message.Publisher
	open              chan struct{}
	inside, cancelled atomic.Int64
}

func (p *gatePublisher) Publish(topic string, msgs ...*message.Message) error {
	p.inside.Add(1)
	select {
	case <-p.open:
	case <-msgs[0].Context().Done():
		p.cancelled.Add(1)
		return msgs[0].Context().Err()
	}
	return p.Publisher.Publish(topic, msgs...)
}

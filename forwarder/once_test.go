package forwarder_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	wm "github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/router"
)

// seen remembers messages for a Deduplicator, until it is cleared.
type seen struct {
	mu     sync.Mutex
	keys   map[string]bool
	passed int // duplicates
}

func (s *seen) IsDuplicate(_ context.Context, key string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys[key] {
		s.passed++
		return true, nil
	}
	if s.keys == nil {
		s.keys = map[string]bool{}
	}
	s.keys[key] = true
	return false, nil
}

func (s *seen) duplicates() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.passed
}

func (s *seen) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = nil
}

func (s *seen) middleware() message.HandlerMiddleware {
	return (&wm.Deduplicator{Repository: s, Timeout: await.Patience}).Middleware
}

// positions runs test with middlewares that are added before AddTo, and after.
func positions(t *testing.T, test func(t *testing.T, db *sql.DB, on func(f *forwarder.Forwarder, mws ...message.HandlerMiddleware) *message.Router)) {
	for _, position := range []string{"before AddTo", "after AddTo"} {
		t.Run(position, func(t *testing.T) {
			t.Parallel()
			testdb.Each(t, func(t *testing.T, db *sql.DB) {
				test(t, db, func(f *forwarder.Forwarder, mws ...message.HandlerMiddleware) *message.Router {
					if position == "after AddTo" {
						return route(t, f, nil, mws)
					}
					return route(t, f, mws, nil)
				})
			})
		})
	}
}

// What a Deduplicator takes for a duplicate because an attempt failed is not lost: it stays due, and goes out when the Deduplicator has forgotten it.
func TestDeduplicatorDoesNotLoseWhatIsRetried(t *testing.T) {
	t.Parallel()
	positions(t, func(t *testing.T, db *sql.DB, on func(*forwarder.Forwarder, ...message.HandlerMiddleware) *message.Router) {
		rec := newRecorder()
		rec.fail = func(string, *message.Message) error {
			if rec.failures++; rec.failures == 1 {
				return errors.New("not now")
			}
			return nil
		}
		log := watermill.NewCaptureLogger()
		f, err := forwarder.New(db, map[string]message.Publisher{"sink": rec}, forwarder.Config{}, log)
		require.NoError(t, err)
		var memory seen
		on(f, memory.middleware())
		publish(t, db, "orders", keyed("a", "1"))
		await.That(t, func() bool { return memory.duplicates() > 0 })
		waitForStatuses(t, db, map[string]int{"FAILED": 1})
		var attempts int
		require.NoError(t, db.QueryRow(`SELECT attempts FROM outbox_deliveries WHERE state = 'waiting'`).Scan(&attempts))
		require.Equal(t, 1, attempts, "what was not handled is no attempt")
		await.That(t, func() bool { return len(log.Captured()[watermill.ErrorLogLevel]) > 0 })
		require.Empty(t, rec.payloads("orders"))
		require.LessOrEqual(t, memory.duplicates(), 2, "it waits between two looks")
		memory.clear()
		waitForStatuses(t, db, map[string]int{"SENT": 1})
		require.Equal(t, []string{"1"}, rec.payloads("orders"))
	})
}

// A delay makes every event a retry.
func TestDeduplicatorDoesNotLoseWhatIsDelayed(t *testing.T) {
	t.Parallel()
	positions(t, func(t *testing.T, db *sql.DB, on func(*forwarder.Forwarder, ...message.HandlerMiddleware) *message.Router) {
		rec := newRecorder()
		var memory seen
		on(newForwarder(t, db, rec, forwarder.SubscriberConfig{}), memory.middleware())
		msg := keyed("a", "1")
		outbox.SetRoutingConfig(msg, []byte(`{"targets":[{"destination":"orders","delay_seconds":1}]}`), "")
		publish(t, db, "orders", msg)
		await.That(t, func() bool { return memory.duplicates() > 0 })
		memory.clear()
		waitForStatuses(t, db, map[string]int{"SENT": 1})
		require.Equal(t, []string{"1"}, rec.payloads("orders"))
	})
}

// An event that was given back, here because its forwarder was closed, is on its first pass again. A Deduplicator that has seen it must not lose it.
func TestDeduplicatorDoesNotLoseWhatWasGivenBack(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		rec := newRecorder()
		f := newForwarder(t, db, rec, forwarder.SubscriberConfig{})
		var memory seen
		inside, blocked := make(chan struct{}, 1), make(chan struct{})
		wait := func(next message.HandlerFunc) message.HandlerFunc {
			return func(msg *message.Message) ([]*message.Message, error) {
				inside <- struct{}{}
				<-blocked
				return next(msg)
			}
		}
		first := route(t, f, nil, []message.HandlerMiddleware{memory.middleware(), wait})
		publish(t, db, "orders", keyed("a", "1"))
		<-inside
		closed := make(chan error, 1)
		go func() { closed <- first.Close() }()
		var members int
		await.That(t, func() bool {
			require.NoError(t, db.QueryRow(`SELECT count(*) FROM outbox_forwarders`).Scan(&members))
			return members == 0
		})
		close(blocked)
		require.NoError(t, <-closed)
		require.Equal(t, map[string]int{"NEW": 1}, statuses(t, db))

		route(t, f, nil, []message.HandlerMiddleware{memory.middleware()})
		await.That(t, func() bool { return memory.duplicates() > 0 })
		memory.clear()
		waitForStatuses(t, db, map[string]int{"SENT": 1})
		require.Equal(t, []string{"1"}, rec.payloads("orders"))
	})
}

// A middleware may take events on their first pass.
func TestMiddlewareTakesAnEvent(t *testing.T) {
	t.Parallel()
	positions(t, func(t *testing.T, db *sql.DB, on func(*forwarder.Forwarder, ...message.HandlerMiddleware) *message.Router) {
		rec := newRecorder()
		on(newForwarder(t, db, rec, forwarder.SubscriberConfig{}), func(next message.HandlerFunc) message.HandlerFunc {
			return func(msg *message.Message) ([]*message.Message, error) {
				if string(msg.Payload) == "2" {
					return nil, nil
				}
				return next(msg)
			}
		})
		publish(t, db, "orders", keyed("a", "1"), keyed("a", "2"), keyed("a", "3"))
		waitForStatuses(t, db, map[string]int{"SENT": 2, "SKIPPED": 1})
		require.Equal(t, []string{"1", "3"}, rec.payloads("orders"))
	})
}

// crowd is a publisher that counts how many publish at once, in all and of a key.
type crowd struct {
	message.Publisher
	mu        sync.Mutex
	now, most int
	keys      map[string]int
	mostOfKey int
	ticks     <-chan time.Time
}

func (c *crowd) Publish(topic string, msgs ...*message.Message) error {
	key := msgs[0].Metadata.Get(outbox.KeyAggregateID)
	c.mu.Lock()
	c.now++
	c.keys[key]++
	c.most, c.mostOfKey = max(c.most, c.now), max(c.mostOfKey, c.keys[key])
	c.mu.Unlock()
	<-c.ticks
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.now--
		c.keys[key]--
	}()
	return c.Publisher.Publish(topic, msgs...)
}

// InstantAck says nothing about an event: the handler does, and until it returns the event keeps its place and its key.
func TestInstantAck(t *testing.T) {
	t.Parallel()
	passes := func(next message.HandlerFunc) message.HandlerFunc { return next }
	for name, inner := range map[string]message.HandlerMiddleware{"alone": passes, "around a Throttle": wm.NewThrottle(200, time.Second).Middleware} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			positions(t, func(t *testing.T, db *sql.DB, on func(*forwarder.Forwarder, ...message.HandlerMiddleware) *message.Router) {
				ticker := time.NewTicker(2 * time.Millisecond)
				defer ticker.Stop()
				rec := newRecorder()
				rec.fail = func(_ string, msg *message.Message) error {
					if string(msg.Payload) == "bad" {
						return errors.New("refused")
					}
					return nil
				}
				to := &crowd{Publisher: rec, keys: map[string]int{}, ticks: ticker.C}
				for i := range 60 {
					publish(t, db, "orders", keyed(fmt.Sprint(i%10), fmt.Sprint(i)))
				}
				bad := keyed("bad", "bad")
				outbox.SetRoutingConfig(bad, []byte(`{"targets":[{"destination":"orders","retry_policy":"none"}]}`), "")
				publish(t, db, "orders", bad)
				on(newForwarder(t, db, to, forwarder.SubscriberConfig{MaxConcurrent: 4}), wm.InstantAck, inner)
				waitForStatuses(t, db, map[string]int{"SENT": 60, "DEAD": 1})
				require.Len(t, rec.payloads("orders"), 60)
				require.LessOrEqual(t, to.most, 4)
				require.Equal(t, 1, to.mostOfKey)
			})
		})
	}
}

// A middleware that fails behind an InstantAck fails, though nobody hears its error.
func TestInstantAckOfAMiddlewareThatFails(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		rec := newRecorder()
		var mu sync.Mutex
		tries := 0
		fails := func(next message.HandlerFunc) message.HandlerFunc {
			return func(msg *message.Message) ([]*message.Message, error) {
				mu.Lock()
				defer mu.Unlock()
				if tries++; tries == 1 {
					return nil, errors.New("not now")
				}
				return next(msg)
			}
		}
		route(t, newForwarder(t, db, rec, forwarder.SubscriberConfig{}), nil, []message.HandlerMiddleware{wm.InstantAck, fails})
		publish(t, db, "orders", keyed("a", "1"))
		waitForStatuses(t, db, map[string]int{"SENT": 1})
		require.Equal(t, []string{"1"}, rec.payloads("orders"))
	})
}

// A handler that panics has failed, though the message was acked.
func TestInstantAckOfAPanic(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		rec := newRecorder()
		f, err := forwarder.New(db, map[string]message.Publisher{"sink": rec}, forwarder.Config{Routes: &panicsOnce{}}, logger(t))
		require.NoError(t, err)
		route(t, f, nil, []message.HandlerMiddleware{wm.InstantAck})
		publish(t, db, "orders", keyed("a", "1"))
		waitForStatuses(t, db, map[string]int{"SENT": 1})
		require.Equal(t, []string{"1"}, rec.payloads("orders"))
	})
}

// panicsOnce is a resolver that panics the first time.
type panicsOnce struct {
	once sync.Once
}

func (p *panicsOnce) Resolve(e *router.Event) (*router.Plan, error) {
	p.once.Do(func() { panic("resolver panicked") })
	table, err := router.NewTable(router.Config{})
	if err != nil {
		return nil, err
	}
	return table.Resolve(e)
}

package forwarder_test

import (
	"context"
	"database/sql"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/router"
)

// A hook that panics takes neither the other targets of its event with it nor the process.
func TestHookThatPanicsHurtsItsTargetOnly(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		rec := newRecorder()
		table := routes(t)
		hooks := forwarder.Hooks{Published: func(a forwarder.Attempt) {
			if a.Destination == "a" {
				panic("broken hook")
			}
		}}
		publishRouted(t, db, table, "t", configured("k", "1", `{"targets":[{"destination":"a"},{"destination":"b"}]}`))
		drain(t, db, forwarder.Config{Routes: table, Subscriber: forwarder.SubscriberConfig{Hooks: hooks}}, map[string]message.Publisher{"x": rec})
		require.Equal(t, []string{"1"}, rec.payloads("a"))
		require.Equal(t, []string{"1"}, rec.payloads("b"))
		require.Equal(t, map[string]int{"SENT": 1}, statuses(t, db))
	})
}

// nilError is an error whose text cannot be had.
type nilError struct{}

func (*nilError) Error() string { panic("no text") }

// A publisher whose error panics has failed, and a target that got the event keeps its outcome.
func TestErrorThatPanicsIsAFailureOfItsTarget(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		rec := newRecorder()
		table := routes(t)
		rec.fail = func(topic string, _ *message.Message) error {
			if topic == "a" {
				return (*nilError)(nil)
			}
			return nil
		}
		publishRouted(t, db, table, "t", configured("k", "1", `{"targets":[{"destination":"a","retry_policy":"none"},{"destination":"b"}]}`))
		drain(t, db, forwarder.Config{Routes: table}, map[string]message.Publisher{"x": rec})
		require.Equal(t, []string{"1"}, rec.payloads("b"))
		require.Equal(t, map[string]int{"DEAD": 1}, statuses(t, db))
	})
}

// panics resolves nothing.
type panics struct{}

func (panics) Resolve(*router.Event) (*router.Plan, error) { panic("no routes") }

// Routes that panic make the event dead, alone and behind a Router.
func TestRoutesThatPanicMakeTheEventDead(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		publish(t, db, "t", keyed("k", "1"))
		f, err := forwarder.New(db, map[string]message.Publisher{"x": newRecorder()}, forwarder.Config{Routes: panics{}}, nil)
		require.NoError(t, err)
		r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
		require.NoError(t, err)
		r.AddMiddleware(func(next message.HandlerFunc) message.HandlerFunc {
			return func(msg *message.Message) (_ []*message.Message, err error) {
				defer func() {
					if p := recover(); p != nil {
						err = context.Canceled
					}
				}()
				return next(msg)
			}
		})
		f.AddTo(r)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		eventually(t, "the event is dead", func() bool { return statuses(t, db)["DEAD"] == 1 })
		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, f.Close())
	})
}

// A publisher that ends its goroutine, as a failed test does, is asked again, and others go on.
func TestPublisherThatEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		rec := newRecorder()
		var calls atomic.Int32
		rec.fail = func(string, *message.Message) error {
			if calls.Add(1) == 1 {
				rec.mu.Unlock()
				defer rec.mu.Lock()
				runtime.Goexit()
			}
			return nil
		}
		publish(t, db, "t", keyed("k", "1"), keyed("k", "2"), keyed("l", "3"))
		drain(t, db, forwarder.Config{}, map[string]message.Publisher{"x": rec})
		require.ElementsMatch(t, []string{"1", "2", "3"}, rec.payloads("t"))
	})
}

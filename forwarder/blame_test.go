package forwarder_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/adapters"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/router"
)

// breakers remembers which breakers opened and closed.
type breakers struct {
	mu   sync.Mutex
	told []string
}

func (b *breakers) hooks() forwarder.Hooks {
	return forwarder.Hooks{Breaker: func(scope string, open bool) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.told = append(b.told, fmt.Sprint(scope, " ", open))
	}}
}

func (b *breakers) list() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.told...)
}

func noted(t *testing.T, db *sql.DB) int {
	return count(t, db, `SELECT count(*) FROM outbox_controls WHERE kind = 'unreachable'`)
}

func held(t *testing.T, db *sql.DB) int {
	return count(t, db, `SELECT count(*) FROM outbox_deliveries WHERE state = 'held' AND attempts = 0`)
}

// Every topic of a publisher fails: it is the publisher that is out of reach, whatever it says is the cause.
func TestPublisherThatIsDownHasOneBreaker(t *testing.T) {
	t.Parallel()
	for name, cause := range map[string]error{
		"connection": io.EOF, "state": adapters.Unavailable(errors.New("read only")), "closed": adapters.ErrClosed,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testdb.Each(t, func(t *testing.T, db *sql.DB) {
				const topics = 300
				rec, told := newRecorder(), &breakers{}
				rec.fail = func(string, *message.Message) error { return cause }
				run(t, db, forwarder.Config{
					Routes: routes(t), DefaultPublisher: "x", BreakerProbe: 20 * time.Millisecond,
					Subscriber: forwarder.SubscriberConfig{Hooks: told.hooks(), SweepInterval: time.Hour},
				}, map[string]message.Publisher{"x": rec, "y": newRecorder()})
				for i := range topics {
					m := keyed(fmt.Sprint(i%7), fmt.Sprint(i))
					if i%2 == 0 { // some name the publisher, others leave it out
						outbox.SetRoutingKey(m, fmt.Sprint("x://topic", i))
					}
					publish(t, db, fmt.Sprint("topic", i), m)
				}
				eventually(t, "everything is held", func() bool { return held(t, db) == topics })
				eventually(t, "the note is there", func() bool { return noted(t, db) == 1 })
				require.Equal(t, []string{"x:// true"}, told.list())
				rec.setFail(nil)
				eventually(t, "everything is sent", func() bool { return statuses(t, db)["SENT"] == topics })
				for i := range topics {
					require.Len(t, rec.payloads(fmt.Sprint("topic", i)), 1)
				}
				eventually(t, "the note is gone", func() bool { return noted(t, db) == 0 })
				require.Equal(t, []string{"x:// true", "x:// false"}, told.list())
			})
		})
	}
}

// One topic is refused: others of the publisher go on, it uses no attempts, and goes on in its order when it is allowed.
func TestTopicThatIsRefusedHoldsNoOther(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		const each = 40
		rec, told := newRecorder(), &breakers{}
		rec.fail = func(topic string, _ *message.Message) error {
			if topic == "refused" {
				return adapters.UnavailableTopic(errors.New("NOPERM"))
			}
			return nil
		}
		log := watermill.NewCaptureLogger()
		f, err := forwarder.New(db, map[string]message.Publisher{"x": rec}, forwarder.Config{
			Routes: routes(t), BreakerProbe: 20 * time.Millisecond, Subscriber: forwarder.SubscriberConfig{Hooks: told.hooks()},
		}, log)
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() { done <- f.Run(context.Background()) }()
		t.Cleanup(func() {
			require.NoError(t, f.Close())
			require.NoError(t, <-done)
		})
		for i := range each {
			publish(t, db, "refused", keyed("a", fmt.Sprint(i)), keyed("b", fmt.Sprint(i)))
			publish(t, db, "fine", keyed("a", fmt.Sprint(i)))
		}
		eventually(t, "others flow", func() bool { return len(rec.payloads("fine")) == each })
		eventually(t, "the topic is held", func() bool { return held(t, db) == 2*each })
		eventually(t, "it is named", func() bool {
			return count(t, db, `SELECT count(*) FROM outbox_controls WHERE kind = 'unreachable' AND name = 'refused' AND reason LIKE '%NOPERM%'`) == 1
		})
		rec.setFail(nil)
		eventually(t, "everything is sent", func() bool { return statuses(t, db)["SENT"] == 3*each })
		require.Len(t, rec.payloads("refused"), 2*each, "once")
		requireOrder(t, rec, "refused")
		eventually(t, "the note is gone", func() bool { return noted(t, db) == 0 })
		require.Equal(t, []string{"refused true", "refused false"}, told.list())
		lines := log.Captured()[watermill.ErrorLogLevel]
		require.Len(t, lines, 1)
		require.ErrorContains(t, lines[0].Err, "NOPERM")
		require.Equal(t, "refused", lines[0].Fields["destination"])
	})
}

// Events may make topics up without end; so many breakers there are not.
func TestTopicsThatAreRefusedFillNoMemory(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		const topics, each = 150, 6
		rec, told := newRecorder(), &breakers{}
		rec.fail = func(string, *message.Message) error { return adapters.UnavailableTopic(errors.New("no such topic")) }
		run(t, db, forwarder.Config{
			Routes: routes(t), BreakerFailures: 1, BreakerProbe: 20 * time.Millisecond, Subscriber: forwarder.SubscriberConfig{Hooks: told.hooks()},
		}, map[string]message.Publisher{"x": rec})
		for i := range topics {
			for j := range each {
				publish(t, db, fmt.Sprint("t", i), keyed(fmt.Sprint(j), fmt.Sprint(i)))
			}
		}
		eventually(t, "all had their first pass", func() bool { return count(t, db, `SELECT count(*) FROM outbox_pending`) == 0 })
		eventually(t, "breakers are open", func() bool { return noted(t, db) == 100 })
		require.Equal(t, map[string]int{"NEW": topics * each}, statuses(t, db))
		rec.setFail(nil)
		eventually(t, "everything is sent", func() bool { return statuses(t, db)["SENT"] == topics*each })
		eventually(t, "the notes are gone", func() bool { return noted(t, db) == 0 })
		require.Len(t, told.list(), 200)
	})
}

// The topics of the publisher have nothing in common, so that its breakers are theirs.
func TestPublisherWhoseTopicsFailAlone(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		rec, told := newRecorder(), &breakers{}
		rec.fail = refuse("a", "b")
		run(t, db, forwarder.Config{
			Routes: routes(t), BreakerFailures: 2, BreakerProbe: 20 * time.Millisecond, Subscriber: forwarder.SubscriberConfig{Hooks: told.hooks()},
		}, map[string]message.Publisher{"x": adapters.PerTopic(rec)})
		for i := range 10 {
			publish(t, db, "a", keyed(fmt.Sprint(i), "0"))
			publish(t, db, "b", keyed(fmt.Sprint(i), "0"))
		}
		eventually(t, "everything is held", func() bool { return held(t, db) == 20 })
		require.ElementsMatch(t, []string{"a true", "b true"}, told.list())
		publish(t, db, "c", keyed("c", "0"))
		eventually(t, "others flow", func() bool { return len(rec.payloads("c")) == 1 })
		rec.setFail(nil)
		eventually(t, "everything is sent", func() bool { return statuses(t, db)["SENT"] == 21 })
	})
}

// One message breaks the connection whenever it is sent, and others get through: it is its own fault, and dead one day. An error that can only be the
// server's never is.
func TestMessageThatBreaksTheConnectionDiesAlone(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		rec, served := newRecorder(), 0
		rec.fail = func(_ string, m *message.Message) error {
			switch string(m.Payload) {
			case "poison":
				return fmt.Errorf("read: %w", io.EOF)
			case "unlucky":
				if rec.failures++; rec.failures < 8 {
					return adapters.Unavailable(errors.New("this partition has no leader"))
				}
			default:
				served++
			}
			return nil
		}
		run(t, db, forwarder.Config{Routes: routes(t), BreakerFailures: 3, BreakerProbe: time.Hour}, map[string]message.Publisher{"x": rec})
		publish(t, db, "t", keyed("p", "poison"), keyed("u", "unlucky"))
		for i := range 10_000 { // others must get through between any two tries
			publish(t, db, "t", keyed("o", fmt.Sprint(i)))
			s := statuses(t, db)
			if s["DEAD"] == 1 && s["NEW"]+s["FAILED"] == 0 {
				break
			}
		}
		eventually(t, "the poison is dead", func() bool { return statuses(t, db)["DEAD"] == 1 })
		eventually(t, "the unlucky one is sent", func() bool { return slices.Contains(rec.payloads("t"), "unlucky") })
		require.Equal(t, 0, noted(t, db))
	})
}

type restAfter struct{ error }

func (restAfter) Unavailable() bool         { return true }
func (restAfter) RetryAfter() time.Duration { return 1 << 62 } // more than anybody waits

// A destination that asks to be left alone is not probed before that.
func TestDestinationThatAsksForTimeIsLeftAlone(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		rec := newRecorder()
		rec.fail = func(topic string, m *message.Message) error {
			if topic == "t" {
				rec.failures++
				return restAfter{errors.New("429")}
			}
			return nil
		}
		run(t, db, forwarder.Config{
			Routes: routes(t), BreakerFailures: 1, BreakerProbe: time.Millisecond, DefaultPublisher: "x",
		}, map[string]message.Publisher{"x": rec, "y": rec})
		publish(t, db, "t", keyed("a", "0"))
		eventually(t, "it is held", func() bool { return held(t, db) == 1 })
		for i := range 20 { // as a clock: any of these would let a probe pass
			m := keyed("b", fmt.Sprint(i))
			outbox.SetRoutingKey(m, "y://other")
			publish(t, db, "t", keyed("c", fmt.Sprint(i)))
			publish(t, db, "other", m)
			eventually(t, "others flow", func() bool { return len(rec.payloads("other")) == i+1 })
		}
		rec.mu.Lock()
		defer rec.mu.Unlock()
		require.Equal(t, 1, rec.failures)
	})
}

// Names in plain SQL have any length. What is too long is dead at once, with a cause that does not repeat it.
func TestDestinationThatIsTooLong(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		var log bytes.Buffer
		rec := newRecorder()
		f, err := forwarder.New(db, map[string]message.Publisher{"x": rec}, forwarder.Config{Routes: longKey{routes(t)}},
			watermill.NewStdLoggerWithOut(&log, true, false))
		require.NoError(t, err)
		publish(t, db, "t", keyed("a", "0"))
		require.NoError(t, f.Drain(t.Context()))
		require.Equal(t, map[string]int{"DEAD": 1}, statuses(t, db))
		require.Less(t, log.Len(), 20_000)
		require.Equal(t, 1, count(t, db, `SELECT count(*) FROM outbox_deliveries WHERE length(destination) <= 1024 AND length(error) < 400 AND error LIKE '%3000004 bytes, more than 1024%'`))
	})
}

// longKey resolves every event as one of an older table, which did not limit the routing key.
type longKey struct{ *router.Table }

func (l longKey) Resolve(e *router.Event) (*router.Plan, error) {
	e.RoutingKey = "x://" + strings.Repeat("k", 3_000_000)
	return l.Table.Resolve(e)
}

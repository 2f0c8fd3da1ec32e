package middleware_test

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

type our struct {
	name string
	make func(poison message.Publisher) (message.HandlerMiddleware, error)
}

// ours are the middlewares of this project, so that each lets the messages of the test through.
var ours = []our{
	{"Delay", func(message.Publisher) (message.HandlerMiddleware, error) {
		return middleware.Delay(middleware.DelayConfig{By: time.Millisecond}), nil
	}},
	{"Match", func(message.Publisher) (message.HandlerMiddleware, error) {
		return middleware.Match(middleware.MatchConfig{Conditions: `{"payload.n": 1}`})
	}},
	{"PoisonQueue", func(poison message.Publisher) (message.HandlerMiddleware, error) {
		return middleware.PoisonQueue(poison, "poison")
	}},
	{"Retry", func(message.Publisher) (message.HandlerMiddleware, error) {
		return middleware.Retry(middleware.RetryPolicy{MaxAttempts: 10, InitialInterval: time.Millisecond, Multiplier: 1}, nil)
	}},
	{"Sample", func(message.Publisher) (message.HandlerMiddleware, error) {
		return middleware.Sample(middleware.SampleConfig{Rate: 1})
	}},
	{"Trace", func(message.Publisher) (message.HandlerMiddleware, error) {
		return middleware.Trace(middleware.TraceConfig{TracerProvider: noop.NewTracerProvider()}), nil
	}},
	{"Transform", func(message.Publisher) (message.HandlerMiddleware, error) {
		return middleware.Transform(middleware.TransformConfig{AddFields: map[string]any{"seen": true}})
	}},
}

// enclosing counts the messages that are inside of what it encloses.
type enclosing struct{ in, out atomic.Int64 }

func (e *enclosing) middleware(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		e.in.Add(1)
		defer e.out.Add(1)
		return next(msg)
	}
}

// stack is one of ours and one of Watermill's on one handler.
type stack struct {
	name, topic string
	handler     troubled
	enclosing   enclosing
	poisoned    counter
}

// outcome says what became of the bad message, as docs/middlewares.md does, and what of the good one when that was handled other than once.
func (s *stack) outcome() string {
	good, bad, poisoned := s.handler.good.Load(), s.handler.bad.Load(), s.poisoned.all()["poison"]
	switch {
	case good == 1 && poisoned == 0 && bad == 1:
		return "dropped"
	case good == 1 && poisoned == 0 && bad == 4:
		return "retried"
	case good == 2 && poisoned == 0 && bad >= 5:
		return "doubled"
	case good >= 1 && poisoned == 1 && bad == 1:
		return "poisoned"
	case good == 2 && poisoned == 2 && bad == 2:
		return "poisoned twice"
	case good == 0 && poisoned == 2 && bad == 0:
		return "poisoned unhandled"
	}
	return fmt.Sprintf("good handled %d times, bad %d times, %d poisoned", good, bad, poisoned)
}

// discard is a publisher that takes everything.
type discard struct{}

func (discard) Publish(string, ...*message.Message) error { return nil }
func (discard) Close() error                              { return nil }

// testStacks runs each of Watermill's middlewares with one of ours, and returns the outcomes by the name of the stack. Ended waits until the messages of
// a topic were acked for good.
func testStacks(t *testing.T, list []our, sub message.Subscriber, publish func(topic string, msg *message.Message), ended func(topic string) bool) map[string]string {
	t.Helper()
	r, err := message.NewRouter(message.RouterConfig{CloseTimeout: time.Minute}, watermill.NopLogger{})
	require.NoError(t, err)
	var stacks []*stack
	for _, own := range list {
		for _, wm := range watermills {
			for _, outside := range []bool{true, false} {
				s := &stack{name: wm.name + "(our " + own.name + ")", handler: troubled{fault: wm.fault}}
				if outside {
					s.name = "our " + own.name + "(" + wm.name + ")"
				}
				s.topic = strings.NewReplacer("(", "-", ")", "", " ", "-").Replace(s.name)
				poison := counting{discard{}, &s.poisoned}
				mw, err := own.make(poison)
				require.NoError(t, err)
				mws := []message.HandlerMiddleware{s.enclosing.middleware, mw, wm.make(poison)}
				if !outside {
					mws[1], mws[2] = mws[2], mws[1]
				}
				r.AddConsumerHandler(s.topic, s.topic, sub, s.handler.handle).AddMiddleware(mws...)
				stacks = append(stacks, s)
			}
		}
	}
	stopped := run(t, r)
	for _, s := range stacks {
		for _, id := range []string{"good", "bad"} {
			publish(s.topic, message.NewMessage(id, fmt.Appendf(nil, `{"n":1,"id":%q}`, id)))
		}
	}
	got := map[string]string{}
	for _, s := range stacks {
		await.That(t, func() bool {
			in := s.enclosing.in.Load()
			return in >= 2 && ended(s.topic) && s.enclosing.out.Load() == s.enclosing.in.Load()
		}, "%s has not ended", s.name)
		got[s.name] = s.outcome()
	}
	require.NoError(t, r.Close())
	require.NoError(t, <-stopped)
	return got
}

// documented returns the outcomes that docs/middlewares.md states for a Pub/Sub, by the name of the stack.
func documented(t *testing.T, pubSub string) map[string]string {
	t.Helper()
	want := map[string]string{}
	for _, row := range rows(t, "<!-- stacks: "+pubSub+" -->") {
		wm := strings.Trim(row[0], "`")
		for _, own := range ours {
			inner, outer := row[1], row[1]
			switch own.name {
			case "PoisonQueue":
				inner, outer = row[2], row[3]
			case "Retry":
				inner, outer = row[4], row[5]
			}
			want["our "+own.name+"("+wm+")"], want[wm+"(our "+own.name+")"] = inner, outer
		}
	}
	return want
}

// rows returns the cells of the first table behind mark in docs/middlewares.md, without its head.
func rows(t *testing.T, mark string) [][]string {
	t.Helper()
	page, err := os.ReadFile("../../docs/middlewares.md")
	require.NoError(t, err)
	_, text, ok := strings.Cut(string(page), mark)
	require.True(t, ok, "no %s in the page", mark)
	_, text, ok = strings.Cut(text, "|---|")
	require.True(t, ok)
	_, text, _ = strings.Cut(text, "\n")
	text, _, _ = strings.Cut(text, "\n\n")
	var list [][]string
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		list = append(list, cells)
	}
	return list
}

func TestStacksOnGoChannel(t *testing.T) {
	t.Parallel()
	ps := gochannel.NewGoChannel(gochannel.Config{BlockPublishUntilSubscriberAck: true}, watermill.NopLogger{})
	defer func() { require.NoError(t, ps.Close()) }()
	var acked counter
	got := testStacks(t, ours, ps, func(topic string, msg *message.Message) {
		go func() {
			_ = ps.Publish(topic, msg)
			acked.add(topic)
		}()
	}, func(topic string) bool { return acked.get(topic) == 2 })
	require.Equal(t, documented(t, "GoChannel"), got)
}

func TestStacksOnOutbox(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		all := map[string]string{}
		for _, own := range ours {
			ps := openOutbox(t, db)
			got := testStacks(t, []our{own}, ps.sub, func(topic string, msg *message.Message) {
				require.NoError(t, ps.pub.Publish(topic, msg))
			}, func(topic string) bool {
				var open int
				require.NoError(t, db.QueryRowContext(context.Background(), `SELECT count(*) FROM outbox_events WHERE topic = $1 AND status NOT IN ('SENT', 'DEAD', 'SKIPPED')`, topic).Scan(&open))
				return open == 0
			})
			maps.Copy(all, got)
		}
		require.Equal(t, documented(t, "outbox"), all)
	})
}

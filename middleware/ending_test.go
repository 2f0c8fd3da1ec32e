package middleware_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	wm "github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"github.com/bento-outbox/watermill-outbox/middleware"
)

// shelf is a publisher that keeps what is published, when the context of that lives.
type shelf []*message.Message

func (s *shelf) Publish(_ string, msgs ...*message.Message) error {
	for _, m := range msgs {
		if err := m.Context().Err(); err != nil {
			return err
		}
	}
	*s = append(*s, msgs...)
	return nil
}
func (s *shelf) Close() error { return nil }

// TestEndOfTheContext ends the context of a message in each way, with PoisonQueue inside of Retry and around it.
func TestEndOfTheContext(t *testing.T) {
	t.Parallel()
	const early = time.Second / 2 // before the second try
	for _, c := range []struct {
		name string
		// end prepares the context and the acknowledgement.
		end             func(msg *message.Message, cancel context.CancelFunc, next message.HandlerFunc) message.HandlerFunc
		calls, poisoned int
		fails           bool
	}{
		{"it does not", func(_ *message.Message, _ context.CancelFunc, next message.HandlerFunc) message.HandlerFunc {
			return next
		}, 3, 1, false},
		{"shutdown", func(_ *message.Message, cancel context.CancelFunc, next message.HandlerFunc) message.HandlerFunc {
			time.AfterFunc(early, cancel)
			return next
		}, 1, 0, true},
		{"acknowledged before", func(_ *message.Message, cancel context.CancelFunc, next message.HandlerFunc) message.HandlerFunc {
			time.AfterFunc(early, cancel)
			return wm.InstantAck(next)
		}, 3, 1, false},
		{"acknowledged meanwhile", func(msg *message.Message, cancel context.CancelFunc, next message.HandlerFunc) message.HandlerFunc {
			time.AfterFunc(early, func() {
				msg.Ack()
				cancel()
			})
			return next
		}, 3, 1, false},
		{"deadline before the next try", func(_ *message.Message, _ context.CancelFunc, next message.HandlerFunc) message.HandlerFunc {
			return wm.Timeout(early)(next)
		}, 1, 1, false},
		{"deadline before the last try, of a message that is acknowledged", func(_ *message.Message, _ context.CancelFunc, next message.HandlerFunc) message.HandlerFunc {
			return wm.InstantAck(wm.Timeout(2 * time.Second)(next))
		}, 2, 1, false},
	} {
		for _, inside := range []bool{true, false} {
			name := c.name + ", PoisonQueue around Retry"
			if inside {
				name = c.name + ", PoisonQueue inside of Retry"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					var kept shelf
					outer, inner := must(middleware.PoisonQueue(&kept, "poison"))(t), retry(t, threeTimes)
					if inside {
						outer, inner = inner, outer
					}
					f := &failing{errs: []error{errHandler, errHandler, errHandler}}
					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					msg := message.NewMessage("1", nil)
					msg.SetContext(ctx)
					_, err := c.end(msg, cancel, outer(inner(f.handle)))(msg)
					if (err != nil) != c.fails || len(f.calls) != c.calls || len(kept) != c.poisoned {
						t.Fatalf("%d calls, %d poisoned, %v", len(f.calls), len(kept), err)
					}
				})
			})
		}
	}
}

func must(mw message.HandlerMiddleware, err error) func(*testing.T) message.HandlerMiddleware {
	return func(t *testing.T) message.HandlerMiddleware {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return mw
	}
}

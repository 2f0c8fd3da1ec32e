package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/delivery"
	"github.com/bento-outbox/watermill-outbox/internal/event"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

var errHandler = errors.New("handler failed")

var threeTimes = middleware.RetryPolicy{MaxAttempts: 3, InitialInterval: time.Second, Multiplier: 2}

func retry(t *testing.T, p middleware.RetryPolicy) message.HandlerMiddleware {
	t.Helper()
	mw, err := middleware.Retry(p, nil)
	if err != nil {
		t.Fatal(err)
	}
	return mw
}

// failing is a handler that fails with these errors, one a call, and succeeds afterwards.
type failing struct {
	errs  []error
	calls []time.Time
}

func (f *failing) handle(*message.Message) ([]*message.Message, error) {
	f.calls = append(f.calls, time.Now())
	if len(f.calls) <= len(f.errs) {
		return nil, f.errs[len(f.calls)-1]
	}
	return nil, nil
}

func underForwarder(msg *message.Message, number int, created time.Time) *delivery.Delivery {
	d := delivery.New(number, created)
	msg.SetContext(delivery.NewContext(msg.Context(), d))
	return d
}

func TestRetryInPlace(t *testing.T) {
	t.Parallel()
	permanent := middleware.Permanent(errHandler)
	for _, c := range []struct {
		name   string
		errs   []error
		waited time.Duration
		calls  int
		err    error
	}{
		{"no failure", nil, 0, 1, nil},
		{"recovers", []error{errHandler, errHandler}, 3 * time.Second, 3, nil},
		{"gives up", []error{errHandler, errHandler, errHandler}, 3 * time.Second, 3, errHandler},
		{"permanent", []error{errHandler, permanent}, time.Second, 2, errHandler},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f, start := &failing{errs: c.errs}, time.Now()
				_, err := retry(t, threeTimes)(f.handle)(message.NewMessage("1", nil))
				if !errors.Is(err, c.err) || len(f.calls) != c.calls || time.Since(start) != c.waited {
					t.Fatalf("%d calls in %s, %v", len(f.calls), time.Since(start), err)
				}
			})
		})
	}
}

func TestRetryStopsWhenTheContextEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		end    func(context.Context) (context.Context, context.CancelFunc)
		waited time.Duration
		err    error
	}{
		{"the next try would be after the deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 1500*time.Millisecond)
		}, time.Second, errHandler},
		{"shutdown", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(1500*time.Millisecond, cancel)
			return ctx, cancel
		}, 1500 * time.Millisecond, context.Canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := c.end(context.Background())
				defer cancel()
				msg := message.NewMessage("1", nil)
				msg.SetContext(ctx)
				f, start := &failing{errs: []error{errHandler, errHandler, errHandler}}, time.Now()
				_, err := retry(t, threeTimes)(f.handle)(msg)
				if !errors.Is(err, c.err) || !errors.Is(err, errHandler) || time.Since(start) != c.waited || len(f.calls) != 2 {
					t.Fatalf("after %s and %d calls: %v", time.Since(start), len(f.calls), err)
				}
				if msg.Context() != ctx {
					t.Fatal("the message kept a context of Retry")
				}
			})
		})
	}
}

func TestRetryUnderTheForwarder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		attempt int
		err     error
		dead    bool
	}{
		{"first", 1, errHandler, false},
		{"second", 2, errHandler, false},
		{"last", 3, errHandler, true},
		{"permanent", 1, middleware.Permanent(errHandler), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, msg := &failing{errs: []error{c.err, c.err}}, message.NewMessage("1", nil)
			d := underForwarder(msg, c.attempt, time.Now())
			_, err := retry(t, threeTimes)(f.handle)(msg)
			o := d.Outcome()
			if err != nil || len(f.calls) != 1 || o.Kind != delivery.Failed || !errors.Is(o.Err, errHandler) || middleware.IsPermanent(o.Err) != c.dead {
				t.Fatalf("%d calls, %v, %+v", len(f.calls), err, o)
			}
		})
	}
}

func TestCancellationIsNoFailure(t *testing.T) {
	t.Parallel()
	pub := &publisher{}
	poison, err := middleware.PoisonQueue(pub, "poison")
	if err != nil {
		t.Fatal(err)
	}
	for _, forwarder := range []bool{false, true} {
		ctx, cancel := context.WithCancel(context.Background())
		msg := message.NewMessage("1", nil)
		msg.SetContext(ctx)
		d := delivery.New(9, time.Now())
		if forwarder {
			msg.SetContext(delivery.NewContext(ctx, d))
		}
		_, err := poison(retry(t, threeTimes)(func(m *message.Message) ([]*message.Message, error) {
			cancel()
			return nil, m.Context().Err()
		}))(msg)
		if !errors.Is(err, context.Canceled) || d.Outcome().Kind != delivery.None || len(pub.published) != 0 {
			t.Errorf("forwarder %v: %v, %+v, %d poisoned", forwarder, err, d.Outcome(), len(pub.published))
		}
	}
}

func TestRetryRefusesABadPolicy(t *testing.T) {
	t.Parallel()
	if _, err := middleware.Retry(middleware.RetryPolicy{}, nil); !errors.Is(err, middleware.ErrInvalid) {
		t.Fatal(err)
	}
}

type publisher struct {
	published []*message.Message
	err       error
}

func (p *publisher) Publish(_ string, msgs ...*message.Message) error {
	if p.err == nil {
		p.published = append(p.published, msgs...)
	}
	return p.err
}

func (p *publisher) Close() error { return nil }

func TestPoisonQueueAndRetryInEitherOrder(t *testing.T) {
	t.Parallel()
	permanent := middleware.Permanent(errHandler)
	for _, c := range []struct {
		name     string
		errs     []error
		calls    int
		poisoned int
	}{
		{"recovers", []error{errHandler, errHandler}, 3, 0},
		{"gives up", []error{errHandler, errHandler, errHandler, errHandler}, 3, 1},
		{"permanent", []error{permanent}, 1, 1},
	} {
		for _, outer := range []string{"retry", "poison"} {
			t.Run(c.name+", outside is "+outer, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					pub, f := &publisher{}, &failing{errs: c.errs}
					poison, _ := middleware.PoisonQueue(pub, "poison")
					handler := retry(t, threeTimes)(poison(f.handle))
					if outer == "poison" {
						handler = poison(retry(t, threeTimes)(f.handle))
					}
					msg := message.NewMessage("1", []byte("x"))
					msg.Metadata.Set("k", "v")
					if _, err := handler(msg); err != nil || len(f.calls) != c.calls || len(pub.published) != c.poisoned {
						t.Fatalf("%d calls, %d poisoned, %v", len(f.calls), len(pub.published), err)
					}
					if len(msg.Metadata) != 1 {
						t.Fatalf("the message's own metadata is %v", msg.Metadata)
					}
				})
			})
		}
	}
}

func TestPoisonQueueUnderTheForwarder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		attempt  int
		err      error
		poisoned int
	}{
		{"will be tried again", 1, errHandler, 0},
		{"last attempt", 3, errHandler, 1},
		{"permanent", 1, middleware.Permanent(errHandler), 1},
	} {
		for _, order := range []string{"retry outside", "poison outside", "no retry"} {
			t.Run(c.name+", "+order, func(t *testing.T) {
				t.Parallel()
				pub, f := &publisher{}, &failing{errs: []error{c.err}}
				poison, _ := middleware.PoisonQueue(pub, "poison")
				handler, want := poison(f.handle), c.poisoned
				switch order {
				case "retry outside":
					handler = retry(t, threeTimes)(handler)
				case "poison outside":
					handler = poison(retry(t, threeTimes)(f.handle))
				default: // the forwarder counts the attempts
					if !middleware.IsPermanent(c.err) {
						want = 0
					}
				}
				msg := message.NewMessage("1", nil)
				msg.Metadata.Set(event.KeyTopic, "orders")
				d := underForwarder(msg, c.attempt, time.Now())
				_, err := handler(msg)
				if len(pub.published) != want {
					t.Fatalf("%d poisoned, %v, %+v", len(pub.published), err, d.Outcome())
				}
				if want > 0 && pub.published[0].Metadata["topic_poisoned"] != "orders" {
					t.Fatalf("metadata is %v", pub.published[0].Metadata)
				}
				if cause := errors.Join(err, d.Outcome().Err); !errors.Is(cause, errHandler) || middleware.IsPermanent(cause) != (c.poisoned > 0 && order != "no retry" || middleware.IsPermanent(c.err)) {
					t.Fatalf("the delivery ends with %v, %+v", err, d.Outcome())
				}
			})
		}
	}
}

func TestPoisonQueueSaysWhenPublishingFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("broker is down")
	poison, _ := middleware.PoisonQueue(&publisher{err: broken}, "poison")
	_, err := poison((&failing{errs: []error{errHandler}}).handle)(message.NewMessage("1", nil))
	if !errors.Is(err, broken) || !errors.Is(err, errHandler) {
		t.Fatal(err)
	}
	msg := message.NewMessage("1", nil)
	d := underForwarder(msg, 3, time.Now())
	_, err = poison(retry(t, threeTimes)((&failing{errs: []error{errHandler}}).handle))(msg)
	if o := d.Outcome(); err != nil || !errors.Is(o.Err, broken) || !errors.Is(o.Err, errHandler) || !middleware.IsPermanent(o.Err) {
		t.Fatal(err, o)
	}
	if _, err := middleware.PoisonQueue(nil, ""); !errors.Is(err, middleware.ErrInvalid) {
		t.Fatal(err)
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	mw := middleware.Delay(middleware.DelayConfig{By: 5 * time.Second})
	t.Run("waits", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			if handled, err := handle(t, mw, message.NewMessage("1", nil)); !handled || err != nil || time.Since(start) != 5*time.Second {
				t.Fatal(handled, err, time.Since(start))
			}
		})
	})
	t.Run("stops with the context", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			msg := message.NewMessage("1", nil)
			msg.SetContext(ctx)
			if handled, err := handle(t, mw, msg); handled || !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(handled, err)
			}
		})
	})
	t.Run("under the forwarder", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			start, msg := time.Now(), message.NewMessage("1", nil)
			d := underForwarder(msg, 1, start.Add(-3*time.Second))
			handled, err := handle(t, mw, msg)
			if o := d.Outcome(); handled || err != nil || o.Kind != delivery.Delayed || !o.Until.Equal(start.Add(2*time.Second)) || time.Since(start) != 0 {
				t.Fatal(handled, err, o)
			}
			msg = message.NewMessage("1", nil)
			d = underForwarder(msg, 1, start.Add(-5*time.Second))
			if handled, err := handle(t, mw, msg); !handled || err != nil || d.Outcome().Kind != delivery.None {
				t.Fatal(handled, err, d.Outcome())
			}
		})
	})
	t.Run("by the Pub/Sub", func(t *testing.T) {
		t.Parallel()
		msg := &message.Message{}
		produced, err := middleware.Delay(middleware.DelayConfig{By: 5 * time.Second, Metadata: true})(message.PassthroughHandler)(msg)
		if err != nil || produced[0].Metadata[delay.DelayedForKey] != "5s" {
			t.Fatal(produced, err)
		}
	})
	t.Run("not at all", func(t *testing.T) {
		t.Parallel()
		if handled, err := handle(t, middleware.Delay(middleware.DelayConfig{}), message.NewMessage("1", nil)); !handled || err != nil {
			t.Fatal(handled, err)
		}
	})
}

type adapterError struct{ permanent bool }

func (adapterError) Error() string     { return "too large" }
func (e adapterError) Permanent() bool { return e.permanent }

func TestIsPermanent(t *testing.T) {
	t.Parallel()
	for i, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errHandler, false},
		{middleware.Permanent(errHandler), true},
		{fmt.Errorf("a: %w", middleware.Permanent(errHandler)), true},
		{errors.Join(errHandler, middleware.Permanent(errHandler)), true},
		{adapterError{true}, true},
		{fmt.Errorf("a: %w", adapterError{true}), true},
		{adapterError{false}, false},
		{fmt.Errorf("%w, %w", adapterError{false}, adapterError{true}), true},
	} {
		if got := middleware.IsPermanent(c.err); got != c.want {
			t.Errorf("%d: IsPermanent(%v) = %v", i, c.err, got)
		}
	}
	if middleware.Permanent(nil) != nil {
		t.Error("Permanent(nil) is an error")
	}
}

func TestRetryPolicyIsAFunctionOfTheAttempts(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]time.Duration{
		"default":    {time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second},
		"aggressive": {100 * time.Millisecond, 150 * time.Millisecond, 225 * time.Millisecond},
		"none":       nil,
	} {
		p := middleware.Policies()[name]
		p.Jitter = 0
		var got []time.Duration
		for n := 1; n <= len(want); n++ {
			pause, _ := p.Next(n)
			got = append(got, pause)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s waits %v", name, got)
		}
		if _, again := p.Next(p.MaxAttempts); again {
			t.Errorf("%s does not give up", name)
		}
	}
	long, _ := middleware.RetryPolicy{MaxAttempts: 1 << 30, InitialInterval: time.Hour, Multiplier: 10}.Next(1 << 20)
	if long <= 0 {
		t.Errorf("a wait overflows to %s", long)
	}
}

package middleware_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	wm "github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/sony/gobreaker"
)

var errHandler = errors.New("handler failed")

// fault is how a handler fails.
type fault func(context.Context) error

func returns(context.Context) error { return errHandler }
func panics(context.Context) error  { panic("handler panicked") }
func isLate(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Minute):
		return errors.New("the handler had no deadline")
	}
}

type watermillMiddleware struct {
	name  string
	fault fault
	make  func(poison message.Publisher) message.HandlerMiddleware
}

// watermills are the middlewares of Watermill, and how a handler fails that shows what they do. A middleware that remembers something is made anew for
// each stack.
var watermills = []watermillMiddleware{
	{"CircuitBreaker", returns, func(message.Publisher) message.HandlerMiddleware {
		return wm.NewCircuitBreaker(gobreaker.Settings{}).Middleware
	}},
	{"CorrelationID", returns, func(message.Publisher) message.HandlerMiddleware { return wm.CorrelationID }},
	{"Deduplicator", returns, func(message.Publisher) message.HandlerMiddleware {
		return (&wm.Deduplicator{Repository: &memory{}, Timeout: time.Minute}).Middleware
	}},
	{"DelayOnError", returns, func(message.Publisher) message.HandlerMiddleware {
		return (&wm.DelayOnError{InitialInterval: time.Second, MaxInterval: time.Second, Multiplier: 1}).Middleware
	}},
	{"Duplicator", returns, func(message.Publisher) message.HandlerMiddleware { return wm.Duplicator }},
	{"IgnoreErrors", returns, func(message.Publisher) message.HandlerMiddleware {
		return wm.NewIgnoreErrors([]error{errHandler}).Middleware
	}},
	{"InstantAck", returns, func(message.Publisher) message.HandlerMiddleware { return wm.InstantAck }},
	{"PoisonQueue", returns, func(poison message.Publisher) message.HandlerMiddleware {
		queue, err := wm.PoisonQueue(poison, "poison")
		if err != nil {
			panic(err)
		}
		return queue
	}},
	{"RandomFail", returns, func(message.Publisher) message.HandlerMiddleware { return firstTime(wm.RandomFail(1)) }},
	{"RandomPanic", returns, func(message.Publisher) message.HandlerMiddleware { return firstTime(wm.RandomPanic(1)) }},
	{"Recoverer", panics, func(message.Publisher) message.HandlerMiddleware { return wm.Recoverer }},
	{"Retry", returns, func(message.Publisher) message.HandlerMiddleware {
		return wm.Retry{MaxRetries: 9, InitialInterval: time.Millisecond, MaxInterval: time.Millisecond, Multiplier: 1}.Middleware
	}},
	{"Throttle", returns, func(message.Publisher) message.HandlerMiddleware { return wm.NewThrottle(1000, time.Second).Middleware }},
	{"Timeout", isLate, func(message.Publisher) message.HandlerMiddleware { return wm.Timeout(20 * time.Millisecond) }},
}

// firstTime applies mw the first time that a message comes.
func firstTime(mw message.HandlerMiddleware) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		with := mw(next)
		var seen memory
		return func(msg *message.Message) ([]*message.Message, error) {
			if again, _ := seen.IsDuplicate(msg.Context(), msg.UUID); again {
				return next(msg)
			}
			return with(msg)
		}
	}
}

// memory remembers keys for ever.
type memory struct {
	mu   sync.Mutex
	keys map[string]bool
}

func (m *memory) IsDuplicate(_ context.Context, key string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keys[key] {
		return true, nil
	}
	if m.keys == nil {
		m.keys = map[string]bool{}
	}
	m.keys[key] = true
	return false, nil
}

// troubled is a handler whose messages fail the first three times when they are called bad.
type troubled struct {
	fault     fault
	good, bad atomic.Int64
}

func (h *troubled) handle(msg *message.Message) error {
	if msg.UUID == "good" {
		h.good.Add(1)
		return nil
	}
	if h.bad.Add(1) <= 3 {
		return h.fault(msg.Context())
	}
	return nil
}

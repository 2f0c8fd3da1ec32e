package middleware

import (
	"context"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/delivery"
)

// attemptKey is the context key of the current attempt, for the middlewares inside Retry.
type attemptKey struct{}

type attempt struct {
	number int // the first is 1
	pause  time.Duration
	again  bool            // the policy does not give up after it
	ctx    context.Context // whose deadline the pause must fit into; nil when the pause is durable
}

func (p RetryPolicy) attempt(number int, ctx context.Context) attempt {
	pause, again := p.Next(number)
	return attempt{number, pause, again, ctx}
}

// last reports whether a is not followed by another attempt after err.
func (a attempt) last(err error) bool {
	if a.ctx != nil {
		if deadline, ok := a.ctx.Deadline(); ok && time.Until(deadline) <= a.pause {
			return true
		}
	}
	return !a.again || IsPermanent(err)
}

// Retry calls a failed handler again, following policy. A nil logger discards logs; payloads are never logged.
//
// Under the forwarder it does not wait: it records the failure and returns nil, so that the durable retry takes over. When policy gives up, after the
// attempts counted in the table, the failure is recorded as permanent. With any other subscriber Retry waits in place, holding the message. A
// permanent error is not retried.
//
// The end of the context because the subscriber shuts down is no failure: the error is returned, and the message comes again. The deadline of a
// context, set by Timeout for example, is one, and an attempt that would begin after it is not made. A message that was acknowledged early, by
// InstantAck for example, is retried in place, under a context that does not end.
//
// Retry works on either side of [PoisonQueue]. It returns an error when policy is invalid.
func Retry(policy RetryPolicy, logger watermill.LoggerAdapter) (message.HandlerMiddleware, error) {
	if err := policy.Validate(); err != nil {
		return nil, fmt.Errorf("%w: retry policy: %w", ErrInvalid, err)
	}
	if logger == nil {
		logger = watermill.NopLogger{}
	}
	r := retrier{policy, logger}
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) { return r.handle(next, msg) }
	}, nil
}

type retrier struct {
	policy RetryPolicy
	logger watermill.LoggerAdapter
}

func (r retrier) handle(next message.HandlerFunc, msg *message.Message) ([]*message.Message, error) {
	ctx := msg.Context()
	defer msg.SetContext(ctx)
	number := 1
	if d := durable(ctx, msg); d != nil {
		number = d.Attempt()
	}
	for ; ; number++ {
		alive, release := lasting(ctx, msg)
		try := r.policy.attempt(number, alive)
		if durable(ctx, msg) != nil {
			try.ctx = nil
		}
		msg.SetContext(context.WithValue(alive, attemptKey{}, try))
		produced, err := next(msg)
		release()
		if err == nil || stopped(ctx, msg) {
			return produced, err
		}
		if d := durable(ctx, msg); d != nil {
			if try.last(err) {
				err = Permanent(err)
			}
			d.Record(delivery.Outcome{Kind: delivery.Failed, Err: err})
			return nil, nil
		}
		if try.last(err) {
			return produced, err
		}
		r.logger.Info("Handler failed, will retry", watermill.LogFields{
			"message_uuid": msg.UUID, "attempt": number, "max_attempts": r.policy.MaxAttempts, "wait": try.pause.String(), "err": err.Error(),
		})
		if ended := wait(ctx, msg, try.pause); ended != nil {
			return nil, fmt.Errorf("%w while waiting to retry after: %w", ended, err)
		}
	}
}

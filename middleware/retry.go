package middleware

import (
	"context"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/delivery"
)

// attemptKey is the context key under which Retry tells the middlewares inside it about the try that runs.
type attemptKey struct{}

type attempt struct {
	number int // the first is 1
	pause  time.Duration
	again  bool            // the policy does not give up after it
	ctx    context.Context // that a pause must fit into; nil when nobody waits for it
}

func (p RetryPolicy) attempt(number int, ctx context.Context) attempt {
	pause, again := p.Next(number)
	return attempt{number, pause, again, ctx}
}

// last tells whether nobody tries again after err.
func (a attempt) last(err error) bool {
	if a.ctx != nil {
		if deadline, ok := a.ctx.Deadline(); ok && time.Until(deadline) <= a.pause {
			return true
		}
	}
	return !a.again || IsPermanent(err)
}

// Retry calls a handler that failed again, as policy says. A nil logger logs nothing; payloads are never logged.
//
// Under the forwarder it does not wait: the failure is recorded and nil returned, so that the durable retry takes over, and
// when policy gives up, after the attempts counted in the table, the failure is recorded as permanent. With any other
// subscriber it waits in place, holding the message. A permanent error is not tried again.
//
// When the subscriber shuts down, that is no failure: the error is returned, for the message to be delivered again. A deadline of the message's
// context, such as that of Timeout, is one, and a try that would begin after it is none. A message that was acknowledged early, by InstantAck for
// instance, is tried in place, under a context that does not end.
//
// It works on either side of [PoisonQueue]. The error of Retry says what is wrong with policy.
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
		r.logger.Info("Handler failed, will try again", watermill.LogFields{
			"message_uuid": msg.UUID, "attempt": number, "max_attempts": r.policy.MaxAttempts, "wait": try.pause.String(), "err": err.Error(),
		})
		if ended := wait(ctx, msg, try.pause); ended != nil {
			return nil, fmt.Errorf("%w while waiting to try again after: %w", ended, err)
		}
	}
}

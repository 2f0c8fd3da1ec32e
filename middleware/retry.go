package middleware

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/delivery"
)

// attemptKey is the context key under which Retry tells the middlewares inside it about the try that runs.
type attemptKey struct{}

type attempt struct {
	policy RetryPolicy
	number int // the first is 1
}

// last tells whether nobody tries again after err.
func (a attempt) last(err error) bool {
	_, again := a.policy.Next(a.number)
	return !again || IsPermanent(err)
}

// Retry calls a handler that failed again, as policy says. A nil logger logs nothing; payloads are never logged.
//
// Under the forwarder it does not wait: the failure is recorded and nil returned, so that the durable retry takes over, and
// when policy gives up, after the attempts counted in the table, the failure is recorded as permanent. With any other
// subscriber it waits in place, holding the message. A permanent error is not tried again. When the message's context ends, that
// is no failure: the error is returned, for the message to be delivered again.
//
// It works on either side of [PoisonQueue]. The error of Retry says what is wrong with policy.
func Retry(policy RetryPolicy, logger watermill.LoggerAdapter) (message.HandlerMiddleware, error) {
	if err := policy.Validate(); err != nil {
		return nil, fmt.Errorf("%w: retry policy: %w", ErrInvalid, err)
	}
	if logger == nil {
		logger = watermill.NopLogger{}
	}
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			if d := delivery.FromContext(msg.Context()); d != nil {
				return durably(d, policy, next, msg)
			}
			return inPlace(policy, logger, next, msg)
		}
	}, nil
}

func durably(d *delivery.Delivery, policy RetryPolicy, next message.HandlerFunc, msg *message.Message) ([]*message.Message, error) {
	ctx := msg.Context()
	try := attempt{policy, d.Attempt()}
	msg.SetContext(context.WithValue(ctx, attemptKey{}, try))
	produced, err := next(msg)
	msg.SetContext(ctx)
	if err == nil || ctx.Err() != nil {
		return produced, err
	}
	if try.last(err) {
		err = Permanent(err)
	}
	d.Record(delivery.Outcome{Kind: delivery.Failed, Err: err})
	return nil, nil
}

func inPlace(policy RetryPolicy, logger watermill.LoggerAdapter, next message.HandlerFunc, msg *message.Message) ([]*message.Message, error) {
	ctx := msg.Context()
	defer msg.SetContext(ctx)
	for try := (attempt{policy, 1}); ; try.number++ {
		msg.SetContext(context.WithValue(ctx, attemptKey{}, try))
		produced, err := next(msg)
		if err == nil || ctx.Err() != nil || try.last(err) {
			return produced, err
		}
		pause, _ := policy.Next(try.number)
		logger.Info("Handler failed, will try again", watermill.LogFields{
			"message_uuid": msg.UUID, "attempt": try.number, "max_attempts": policy.MaxAttempts, "wait": pause.String(), "err": err.Error(),
		})
		if stopped := wait(ctx, pause); stopped != nil {
			return nil, fmt.Errorf("%w while waiting to try again after: %w", stopped, err)
		}
	}
}

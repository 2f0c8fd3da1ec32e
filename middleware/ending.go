package middleware

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/delivery"
)

// A message's context ends for one of three reasons, and only the first is none of the handler's business:
//
//   - The subscriber shuts down. The message is not acknowledged and comes again, so work on it ends without an outcome: see stopped.
//   - The message was acknowledged early, by InstantAck or by the handler. It will not come again, so work on it goes on: see lasting.
//   - A deadline passed, such as that of Timeout. That is a failure like others.

// stopped reports whether work on msg, whose context is ctx, ends without an outcome because the subscriber shuts down.
func stopped(ctx context.Context, msg *message.Message) bool {
	if gone(ctx, msg) {
		return false
	}
	if d := delivery.FromContext(ctx); d != nil {
		if stopping, known := d.Stopping(); known {
			return stopping
		}
	}
	return errors.Is(ctx.Err(), context.Canceled)
}

// gone reports whether the subscriber has done with msg, because it was acknowledged.
func gone(ctx context.Context, msg *message.Message) bool {
	select {
	case <-msg.Acked(): // never of a message that was not made by its constructor
	default:
		return false
	}
	d := delivery.FromContext(ctx)
	return d == nil || d.EndsWithAck()
}

// durable returns the delivery that outcomes of msg are recorded on, or nil when nobody would look at them.
func durable(ctx context.Context, msg *message.Message) *delivery.Delivery {
	if gone(ctx, msg) {
		return nil
	}
	return delivery.FromContext(ctx)
}

// lasting returns the context to go on with: ctx, or when msg is gone one that has its values and its deadline, and does not end otherwise. The function
// frees it.
func lasting(ctx context.Context, msg *message.Message) (context.Context, context.CancelFunc) {
	if !gone(ctx, msg) {
		return ctx, func() {}
	}
	alive := context.WithoutCancel(ctx)
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithDeadline(alive, deadline)
	}
	return alive, func() {}
}

// wait returns after d, or with the context's error when ctx, the context of msg, ends before in a way that ends the work on msg.
func wait(ctx context.Context, msg *message.Message, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		was := gone(ctx, msg)
		alive, release := lasting(ctx, msg)
		select {
		case <-timer.C:
			release()
			return nil
		case <-alive.Done():
		}
		err := alive.Err()
		release()
		if was || !gone(ctx, msg) {
			return err
		}
	}
}

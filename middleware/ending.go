package middleware

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/delivery"
)

// The context of a message ends for one of three reasons:
//
//   - The subscriber shuts down. The message is not acknowledged and comes again, so work on it ends without an outcome: see stopped.
//   - The message was acknowledged early, by InstantAck or by the handler. It does not come again, so work on it continues: see lasting.
//   - A deadline passed, set by Timeout for example. This is a failure like any other.

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

// gone reports whether msg was acknowledged, so that it does not come again.
func gone(ctx context.Context, msg *message.Message) bool {
	select {
	case <-msg.Acked(): // never of a message that was not made by its constructor
	default:
		return false
	}
	d := delivery.FromContext(ctx)
	return d == nil || d.EndsWithAck()
}

// durable returns the delivery that records outcomes of msg, or nil when there is none or it would be ignored.
func durable(ctx context.Context, msg *message.Message) *delivery.Delivery {
	if gone(ctx, msg) {
		return nil
	}
	return delivery.FromContext(ctx)
}

// lasting returns the context to continue with: ctx, or, when msg is gone, a context with the same values and deadline that does not end otherwise.
// The caller must call the function.
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

// wait waits for d. It returns the error of ctx, the context of msg, when that ends first and work on msg with it.
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

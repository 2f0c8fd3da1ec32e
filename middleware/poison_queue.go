package middleware

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
	wm "github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"github.com/bento-outbox/watermill-outbox/internal/delivery"
	"github.com/bento-outbox/watermill-outbox/internal/event"
)

// PoisonQueue publishes a copy of every message that is not retried any more to topic. The cause is in its metadata, under the keys of
// Watermill's own PoisonQueue.
//
// Without a [Retry] around it, that is every message whose handler fails; inside a Retry, failures that will be retried pass. Under the forwarder
// it is every permanent failure, and the delivery stays dead where it is stored. With any other subscriber the message is acknowledged after its
// copy is published. The end of the context because the subscriber shuts down is no failure: the message comes again. The deadline of a context, set
// by Timeout for example, is one. A message that was acknowledged early, by InstantAck for example, is handled under a context that does not end.
//
// When publishing fails, the error contains both causes. PoisonQueue does not close pub. It returns an error when topic is empty.
func PoisonQueue(pub message.Publisher, topic string) (message.HandlerMiddleware, error) {
	if topic == "" {
		return nil, fmt.Errorf("%w: the poison queue needs a topic", ErrInvalid)
	}
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			ctx := msg.Context() // before the handler can set another one
			produced, err := handleLasting(ctx, next, msg)
			d := durable(ctx, msg)
			cause := err
			if o := recorded(d); cause == nil && o.Kind == delivery.Failed {
				cause = o.Err
			}
			if cause == nil || stopped(ctx, msg) {
				return produced, err
			}
			try, retried := ctx.Value(attemptKey{}).(attempt)
			final := IsPermanent(cause) || retried && try.last(cause) || !retried && d == nil
			if !final {
				return produced, err
			}
			failed := pub.Publish(topic, poisoned(ctx, msg, d, cause))
			if failed != nil {
				cause = errors.Join(cause, fmt.Errorf("publish to poison queue: %w", failed))
			}
			switch {
			case d != nil:
				d.Record(delivery.Outcome{Kind: delivery.Failed, Err: Permanent(cause)})
			case failed != nil:
				return nil, cause
			}
			return nil, nil
		}
	}, nil
}

// handleLasting calls next with a message whose context does not end because the message is gone.
func handleLasting(ctx context.Context, next message.HandlerFunc, msg *message.Message) ([]*message.Message, error) {
	if !gone(ctx, msg) {
		return next(msg)
	}
	alive, release := lasting(ctx, msg)
	defer release()
	msg.SetContext(alive)
	defer msg.SetContext(ctx)
	return next(msg)
}

func recorded(d *delivery.Delivery) delivery.Outcome {
	if d == nil {
		return delivery.Outcome{}
	}
	return d.Outcome()
}

func poisoned(ctx context.Context, msg *message.Message, d *delivery.Delivery, cause error) *message.Message {
	c := msg.Copy()
	c.SetContext(context.WithoutCancel(ctx)) // a deadline may be the cause
	if c.Metadata == nil {
		c.Metadata = make(message.Metadata, 4)
	}
	topic := message.SubscribeTopicFromCtx(ctx)
	if d != nil && c.Metadata[event.KeyTopic] != "" {
		topic = c.Metadata[event.KeyTopic]
	}
	c.Metadata[wm.ReasonForPoisonedKey] = cause.Error()
	c.Metadata[wm.PoisonedTopicKey] = topic
	c.Metadata[wm.PoisonedHandlerKey] = message.HandlerNameFromCtx(ctx)
	c.Metadata[wm.PoisonedSubscriberKey] = message.SubscriberNameFromCtx(ctx)
	return c
}

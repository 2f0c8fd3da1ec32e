package middleware

import (
	"time"

	wmdelay "github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/delivery"
)

// DelayConfig is how long and how to delay messages.
type DelayConfig struct {
	// By is the delay; zero or less means none.
	By time.Duration
	// Metadata leaves the waiting to the Pub/Sub: the handler runs at once, and the messages that it produces carry Watermill's delay
	// metadata. Only some Pub/Subs honour it, in whole seconds. Ignored under the forwarder.
	Metadata bool
}

// Delay delays messages.
//
// Under the forwarder the delay counts from the time the event was stored and is durable: the delivery is recorded as delayed, and no goroutine
// waits. With any other subscriber it counts from the arrival of the message, which stays unacknowledged until the handler has run, so By must be
// shorter than the subscriber's deadline. When the subscriber shuts down or a deadline passes first, Delay returns the context's error without
// calling the handler. A message that was acknowledged early, by InstantAck for example, waits too, and is handled under a context that does
// not end.
func Delay(cfg DelayConfig) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			ctx := msg.Context()
			switch d := durable(ctx, msg); {
			case cfg.By <= 0:
			case d != nil:
				if due := d.Created().Add(cfg.By); time.Now().Before(due) {
					d.Record(delivery.Outcome{Kind: delivery.Delayed, Until: due})
					return nil, nil
				}
			case cfg.Metadata:
				produced, err := next(msg)
				for _, m := range produced {
					if m.Metadata == nil {
						m.Metadata = make(message.Metadata)
					}
					wmdelay.Message(m, wmdelay.For(cfg.By))
				}
				return produced, err
			default:
				if err := wait(ctx, msg, cfg.By); err != nil {
					return nil, err
				}
				alive, release := lasting(ctx, msg)
				defer release()
				msg.SetContext(alive)
				defer msg.SetContext(ctx)
			}
			return next(msg)
		}
	}
}

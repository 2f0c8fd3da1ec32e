package middleware

import (
	"time"

	wmdelay "github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/delivery"
)

// DelayConfig says how a delay is made.
type DelayConfig struct {
	// By is how long to wait; zero or less means not at all.
	By time.Duration
	// Metadata leaves the waiting to the Pub/Sub: the messages that the handler produces get Watermill's delay metadata, and
	// the handler runs at once. Only some Pub/Subs honour it, in whole seconds. Not used under the forwarder.
	Metadata bool
}

// Delay holds messages back.
//
// Under the forwarder the wait counts from when the event was stored and is durable: the delivery is recorded as delayed, and
// no goroutine waits for it. With any other subscriber it counts from when the message arrived, and the handler is called
// when it is over; the message is not acknowledged meanwhile, so By must be shorter than the subscriber's deadline. When
// the subscriber shuts down or a deadline passes first, the context's error is returned and the handler is not called. A message that was
// acknowledged early, by InstantAck for instance, waits all the same, and is handled under a context that does not end.
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

package forwarder

import (
	"context"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	wm "github.com/ThreeDotsLabs/watermill/message/router/middleware"

	outbox "github.com/bento-outbox/watermill-outbox"
)

// bury publishes an event to the poison destination, once for each target that gave up just now.
func (f *Forwarder) bury(ctx context.Context, u *unit, msg *message.Message) {
	if f.poison == "" {
		return
	}
	for _, res := range u.dead() {
		pub, topic, err := f.publishers.find(f.poison)
		if err == nil {
			end, ok := u.mayPublish()
			if !ok {
				return
			}
			out := outgoing(detached{end, ctx}, u, msg, res.name, msg.Payload)
			out.Metadata[wm.ReasonForPoisonedKey] = res.err
			out.Metadata[wm.PoisonedTopicKey] = u.event.Topic
			out.Metadata[wm.PoisonedHandlerKey] = f.name
			out.Metadata[wm.PoisonedSubscriberKey] = "outbox"
			err = f.call(u, &job{target: target{name: res.name, destination: f.poison}, topic: topic, publisher: pub}, out)
		}
		if err != nil {
			f.logger.Error("Cannot publish a dead event to the poison destination; it is in the table", err, watermill.LogFields{
				outbox.KeySeq: u.event.Seq, outbox.KeyTarget: res.name, "destination": f.poison,
			})
		}
	}
}

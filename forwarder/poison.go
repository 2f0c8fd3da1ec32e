package forwarder

import (
	"context"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	wm "github.com/ThreeDotsLabs/watermill/message/router/middleware"

	outbox "github.com/bento-outbox/watermill-outbox"
)

// bury publishes an event to the poison destination, once for each target that gave up just now.
func (f *Forwarder) bury(ctx context.Context, w *work, msg *message.Message) {
	if f.poison == "" {
		return
	}
	for _, res := range w.dead() {
		pub, topic, err := f.publishers.find(f.poison)
		if err == nil {
			bounded, ok := w.permit.Publish(ctx)
			if !ok {
				return
			}
			out := outgoing(bounded, w, msg, res.name, msg.Payload)
			out.Metadata[wm.ReasonForPoisonedKey] = res.err
			out.Metadata[wm.PoisonedTopicKey] = w.Event.Topic
			out.Metadata[wm.PoisonedHandlerKey] = f.name
			out.Metadata[wm.PoisonedSubscriberKey] = "outbox"
			err = f.call(w, &job{target: target{name: res.name, destination: f.poison}, topic: topic, publisher: pub}, out)
		}
		if err != nil {
			f.logger.Error("Cannot publish a dead event to the poison destination; it is in the table", err, watermill.LogFields{
				outbox.KeySeq: w.Event.Seq, outbox.KeyTarget: res.name, "destination": f.poison,
			})
		}
	}
}

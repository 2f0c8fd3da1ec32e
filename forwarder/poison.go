package forwarder

import (
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	wm "github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"github.com/bento-outbox/watermill-outbox/internal/tracing"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// bury publishes an event to the poison destination, once for each target that gave up just now.
func (f *Forwarder) bury(u *unit, msg *message.Message) {
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
			out := outgoing(detached{end, msg.Context()}, u, msg, res.name, msg.Payload)
			out.Metadata[wm.ReasonForPoisonedKey] = res.err
			out.Metadata[wm.PoisonedTopicKey] = u.event.Topic
			out.Metadata[wm.PoisonedHandlerKey] = f.name
			out.Metadata[wm.PoisonedSubscriberKey] = "outbox"
			if f.tracer == nil {
				err = pub.Publish(topic, out)
			} else {
				span := f.tracer.attempt(u, f.poison, topic, res.name, out)
				err = pub.Publish(topic, out)
				tracing.End(span, err)
			}
		}
		if err != nil {
			f.logger.Error("Cannot publish a dead event to the poison destination; it is in the table", err, watermill.LogFields{
				schema.KeySeq: u.event.Seq, schema.KeyTarget: res.name, "destination": f.poison,
			})
		}
	}
}

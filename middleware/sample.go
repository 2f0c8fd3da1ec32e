package middleware

import (
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/event"
	"github.com/bento-outbox/watermill-outbox/internal/rules"
)

// SampleConfig says which share of the events is taken.
type SampleConfig struct {
	// Rate is the share, 0..1. Both ends are exact.
	Rate float64
	// Target sets apart samples of the same events: two targets with one rate take different events. In [Sample] it defaults
	// to the name of the handler.
	Target string
	// Key is a path, as in conditions, whose value is sampled in place of the event's id, so that all events of one customer
	// or aggregate are taken or none is. An event without it is sampled by its id.
	Key string
	// Limits bound the path and the work of looking for it. The zero value means the defaults.
	Limits Limits
}

// Sample hands a share of the messages to the handler: always the same ones, on every replica and in every retry.
//
// A message that is not taken is acknowledged; under the forwarder it is recorded as skipped. The error of Sample is an
// [InvalidError].
func Sample(cfg SampleConfig) (message.HandlerMiddleware, error) {
	c := rules.Compiler{Limits: rules.Limits(cfg.Limits)}
	sampler := c.Sampler(cfg.Rate, cfg.Target, cfg.Key, "")
	if err := invalid(c.Faults); err != nil {
		return nil, err
	}
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			e := event.Of(msg)
			s := rules.Open(&e)
			hit, err := sampler.For(message.HandlerNameFromCtx(msg.Context())).Hit(s)
			s.Close()
			switch {
			case err != nil:
				return fail(msg, err)
			case hit:
				return next(msg)
			}
			return skip(msg, "sampling")
		}
	}, nil
}

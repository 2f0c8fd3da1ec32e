package middleware

import (
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/rules"
)

// SampleConfig selects a share of the messages.
type SampleConfig struct {
	// Rate is the share, 0 to 1. Both ends are exact.
	Rate float64
	// Target distinguishes samples of the same messages: two targets with the same rate take different ones. Defaults to the name of
	// the handler.
	Target string
	// Key is a path, as in [MatchConfig].Conditions, whose value is sampled instead of the message's UUID, so that either all messages of
	// a customer or aggregate are taken or none. A message without the value is sampled by its UUID.
	Key string
	// Limits bound the path and the work of looking it up. The zero value selects the defaults.
	Limits Limits
}

// Sample passes on a share of the messages: the same ones on every replica and in every retry.
//
// Other messages are acknowledged; under the forwarder they are recorded as skipped. Sample returns an [InvalidError] when cfg does not
// compile.
func Sample(cfg SampleConfig) (message.HandlerMiddleware, error) {
	c := rules.Compiler{Limits: rules.Limits(cfg.Limits)}
	sampler := c.Sampler(cfg.Rate, cfg.Target, cfg.Key, "")
	if err := invalid(c.Faults); err != nil {
		return nil, err
	}
	return filter("sampling", func(s *rules.Subject, msg *message.Message) (bool, error) {
		return sampler.For(message.HandlerNameFromCtx(msg.Context())).Hit(s)
	}), nil
}

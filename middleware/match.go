package middleware

import (
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/delivery"
	"github.com/bento-outbox/watermill-outbox/internal/event"
	"github.com/bento-outbox/watermill-outbox/internal/rules"
)

// MatchConfig selects messages. The zero value matches every message.
type MatchConfig struct {
	// Conditions are JSON in MongoDB's query language:
	//
	//	{"payload.price": {"$gt": 1000}, "metadata.source": "shop", "$or": [{"topic": "orders"}, {"tenant_id": {"$in": ["a", "b"]}}]}
	//
	// A path starts at payload, metadata, topic, tenant_id, aggregate_type, aggregate_id, schema_id, schema_version, occurred_at
	// or id. A backslash makes a dot part of a name. The operators are $eq $ne $gt $gte $lt $lte $in $nin $exists
	// $and $or $nor $not $regex $options $all $elemMatch $size.
	Conditions string
	// When is an expression of github.com/expr-lang/expr that must be true as well, such as payload.total > payload.limit.
	//
	// It knows the names that paths start at. A missing field is nil. Integers of the payload that fit into 64 bits are exact and other
	// numbers are float64: compare those with Conditions. An expression that cannot be evaluated, because it compares nil with a
	// number for example, is a permanent error.
	//
	// Its cost is limited like that of Conditions. It can call only functions whose result is about as long as their arguments, and the
	// pattern of matches must be a literal.
	When string
	// Limits bound both. The zero value selects the defaults.
	Limits Limits
}

// Match passes on messages that match cfg.
//
// Other messages are acknowledged; under the forwarder they are recorded as skipped. When the conditions need the payload and it is not JSON,
// the error is permanent; under the forwarder it is recorded. Match returns an [InvalidError] when cfg does not compile.
func Match(cfg MatchConfig) (message.HandlerMiddleware, error) {
	c := rules.Compiler{Limits: rules.Limits(cfg.Limits)}
	matcher := c.Matcher(cfg.Conditions, "", cfg.When, "")
	if err := invalid(c.Faults); err != nil {
		return nil, err
	}
	return filter("condition", func(s *rules.Subject, _ *message.Message) (bool, error) { return matcher.Match(s) }), nil
}

// filter returns a middleware that passes on the messages that pass reports true for, and skips others with reason.
func filter(reason string, pass func(*rules.Subject, *message.Message) (bool, error)) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			e := event.Of(msg)
			s := rules.Open(&e)
			passes, err := pass(s, msg)
			s.Close()
			switch {
			case err != nil:
				return fail(msg, err)
			case passes:
				return next(msg)
			}
			return skip(msg, reason)
		}
	}
}

// skip acknowledges msg without handling it.
func skip(msg *message.Message, reason string) ([]*message.Message, error) {
	if d := durable(msg.Context(), msg); d != nil {
		d.Record(delivery.Outcome{Kind: delivery.Skipped, Reason: reason})
	}
	return nil, nil
}

// fail returns err, which is permanent. Under the forwarder it records err instead, so that the delivery is dead at once.
func fail(msg *message.Message, err error) ([]*message.Message, error) {
	if d := durable(msg.Context(), msg); d != nil {
		d.Record(delivery.Outcome{Kind: delivery.Failed, Err: err})
		return nil, nil
	}
	return nil, err
}

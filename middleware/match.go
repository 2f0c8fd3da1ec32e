package middleware

import (
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/delivery"
	"github.com/bento-outbox/watermill-outbox/internal/event"
	"github.com/bento-outbox/watermill-outbox/internal/rules"
)

// MatchOption changes what [Match] does.
type MatchOption func(*matchConfig)

type matchConfig struct {
	when   string
	limits Limits
}

// WithWhen adds an expr expression that must hold as well, such as `payload.total > payload.limit`.
//
// It knows payload, metadata, topic, tenant_id, aggregate_type, aggregate_id, schema_id, schema_version, occurred_at and
// id. A field that is missing is nil. Numbers of the payload that are integers of 64 bits are exact; others are float64:
// compare those with conditions. An expression that cannot be evaluated, because it compares nil with a number for example,
// is a permanent error.
//
// What an expression may cost is bounded as for conditions, in time and memory. So it calls only functions whose result is about as long as
// what they are given, and the pattern of matches is a literal.
func WithWhen(expression string) MatchOption {
	return func(c *matchConfig) { c.when = expression }
}

// WithLimits bounds what the conditions may cost.
func WithLimits(l Limits) MatchOption {
	return func(c *matchConfig) { c.limits = l }
}

// Match hands only those messages to the handler that meet conditions, which are JSON in MongoDB's query language:
//
//	{"payload.price": {"$gt": 1000}, "metadata.source": "shop", "$or": [{"topic": "orders"}, {"tenant_id": {"$in": ["a", "b"]}}]}
//
// Paths start at payload, metadata, topic, tenant_id, aggregate_type, aggregate_id, schema_id, schema_version, occurred_at or
// id. A backslash takes away the meaning of a dot in a name. The operators are $eq $ne $gt $gte $lt $lte $in $nin $exists
// $and $or $nor $not $regex $options $all $elemMatch $size.
//
// A message that does not match is acknowledged; under the forwarder it is recorded as skipped. A payload that conditions
// look into and that is not JSON is a permanent error; under the forwarder it is recorded. The error of Match is an [InvalidError].
func Match(conditions string, options ...MatchOption) (message.HandlerMiddleware, error) {
	var cfg matchConfig
	for _, option := range options {
		option(&cfg)
	}
	c := rules.Compiler{Limits: rules.Limits(cfg.limits)}
	matcher := c.Matcher(conditions, "", cfg.when, "")
	if err := invalid(c.Faults); err != nil {
		return nil, err
	}
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			e := event.Of(msg)
			s := rules.Open(&e)
			met, err := matcher.Match(s)
			s.Close()
			switch {
			case err != nil:
				return fail(msg, err)
			case met:
				return next(msg)
			}
			return skip(msg, "condition")
		}
	}, nil
}

// skip acknowledges msg without handling it.
func skip(msg *message.Message, reason string) ([]*message.Message, error) {
	if d := durable(msg.Context(), msg); d != nil {
		d.Record(delivery.Outcome{Kind: delivery.Skipped, Reason: reason})
	}
	return nil, nil
}

// fail returns err, which is permanent. Under the forwarder it records it, so that the delivery is dead at once.
func fail(msg *message.Message, err error) ([]*message.Message, error) {
	if d := durable(msg.Context(), msg); d != nil {
		d.Record(delivery.Outcome{Kind: delivery.Failed, Err: err})
		return nil, nil
	}
	return nil, err
}

package forwarder

import (
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/internal/delivery"
)

var (
	// errUserMiddleware is what counts as the failure when a middleware around the forwarder nacked.
	errUserMiddleware = errors.New("a middleware around the forwarder failed")
	errPassedBy       = errors.New("a middleware around the forwarder acked the message without calling the handler")
)

// finish records what an ack or a nack means when the handler did not get to it: some middleware decided.
func (f *Forwarder) finish(u *unit, acked bool) {
	if u.decided() {
		return
	}
	o := u.outcome.Outcome()
	if acked && u.repeat && o.Kind == delivery.None {
		f.logger.Error("A retry was not handled and stays due", errPassedBy, watermill.LogFields{
			outbox.KeySeq: u.event.Seq, "topic": u.event.Topic, "remedy": "add no middleware that remembers messages, such as Deduplicator, to the forwarder",
		})
	}
	for _, t := range f.unfinished(u) {
		all := target{}
		if !u.whole() {
			all = t
		}
		switch {
		case o.Kind == delivery.Skipped:
			u.skipped(all, o.Reason)
			return
		case o.Kind == delivery.Delayed:
			u.delayed(t, time.Until(o.Until))
		case o.Kind == delivery.Failed:
			u.failed(t, o.Err)
		case acked && u.repeat:
			u.passedBy(t)
		case acked:
			u.skipped(all, "acknowledged by a middleware around the forwarder")
			return
		default:
			u.failed(t, errUserMiddleware)
		}
	}
}

// unfinished returns the targets that a unit is still to reach, without asking their conditions.
func (f *Forwarder) unfinished(u *unit) []target {
	if !u.whole() {
		t := fallbackTarget(u)
		if plan, err := f.routes.Resolve(routed(u, &message.Message{Payload: u.event.Payload})); err == nil {
			if rt := find(plan, u.retry.Target); rt != nil {
				t.policy = rt.Policy
			}
		}
		return []target{t}
	}
	plan, err := f.routes.Resolve(routed(u, &message.Message{Payload: u.event.Payload}))
	if err != nil || len(plan.Targets) == 0 {
		return []target{fallbackTarget(u)}
	}
	list := make([]target, len(plan.Targets))
	for i, t := range plan.Targets {
		list[i] = targetOf(t)
	}
	return list
}

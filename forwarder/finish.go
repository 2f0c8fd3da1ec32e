package forwarder

import (
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/internal/delivery"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

var (
	// errUserMiddleware is what counts as the failure when a middleware around the forwarder nacked.
	errUserMiddleware = errors.New("a middleware around the forwarder failed")
	errPassedBy       = errors.New("a middleware around the forwarder acked the message without calling the handler")
)

// finish records what an ack or a nack means when the handler did not get to it: some middleware decided.
func (f *Forwarder) finish(w *work, acked bool) {
	if w.decided() {
		return
	}
	o := w.outcome.Outcome()
	if acked && w.repeat && o.Kind == delivery.None {
		f.logger.Error("A retry was not handled and stays due", errPassedBy, watermill.LogFields{
			outbox.KeySeq: w.Event.Seq, "topic": w.Event.Topic, "remedy": "add no middleware that remembers messages, such as Deduplicator, to the forwarder",
		})
	}
	for _, t := range f.unfinished(w) {
		all := target{}
		if !w.Whole() {
			all = t
		}
		switch {
		case o.Kind == delivery.Skipped:
			w.skipped(all, o.Reason)
			return
		case o.Kind == delivery.Delayed:
			w.delayed(t, time.Until(o.Until))
		case o.Kind == delivery.Failed:
			w.failed(t, o.Err)
		case acked && w.repeat:
			w.passedBy(t)
		case acked:
			w.skipped(all, "acknowledged by a middleware around the forwarder")
			return
		default:
			w.failed(t, errUserMiddleware)
		}
	}
}

// unfinished returns the targets that a unit is still to reach, without asking their conditions.
func (f *Forwarder) unfinished(w *work) []target {
	if !w.Whole() {
		t := unplanned(w)
		if plan, err := f.routes.Resolve(routed(w, &message.Message{Payload: w.Event.Payload})); err == nil {
			if rt := find(plan, w.Retry.Target); rt != nil {
				t.policy = rt.Policy
			}
		}
		return []target{t}
	}
	plan, err := f.routes.Resolve(routed(w, &message.Message{Payload: w.Event.Payload}))
	if err != nil || len(plan.Targets) == 0 {
		return []target{unplanned(w)}
	}
	list := make([]target, len(plan.Targets))
	for i, t := range plan.Targets {
		list[i] = targetOf(t)
	}
	return list
}

// unplanned stands for the targets of an event that could not be planned, or for one that a plan does not have any more.
func unplanned(w *work) target {
	if !w.Whole() {
		return target{name: w.Retry.Target, destination: w.Retry.Destination, policy: middleware.Policies()["default"]}
	}
	destination := w.Event.RoutingKey
	if destination == "" {
		destination = w.Event.Topic
	}
	return target{name: store.Unrouted, destination: targetName(destination), policy: middleware.Policies()["default"]}
}

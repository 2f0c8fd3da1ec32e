package forwarder

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/router"
)

var errOverdue = fmt.Errorf("the deadline of a middleware around the forwarder passed before anything was published: %w", context.DeadlineExceeded)

// deliver routes and delivers one event, which is published as msg. What became of it is recorded in its work.
func (f *Forwarder) deliver(w *work, msg *message.Message) {
	if f.tracer != nil {
		span := f.tracer.begin(w, msg)
		defer func() { f.tracer.routed(span, w) }()
	}
	e, ctx := routed(w, msg), msg.Context()
	plan, err := f.routes.Resolve(e)
	if err != nil {
		w.failed(unplanned(w), middleware.Permanent(err))
		f.bury(ctx, w, msg)
		return
	}
	switch deadline, bounded := w.deadline(msg); {
	case bounded && !time.Now().Before(deadline):
		for _, t := range f.unfinished(w) {
			w.failed(t, errOverdue)
		}
	case w.Whole():
		f.first(w, msg, e, plan)
	default:
		f.again(w, msg, e, plan)
	}
	if plan.Strategy == router.AllOrNothing {
		w.allOrNothing()
	}
	f.bury(ctx, w, msg) // not under the context of an attempt
}

// routed is w as routing sees it, with what middlewares have changed of its message.
func routed(w *work, msg *message.Message) *router.Event {
	e := &w.Event
	return &router.Event{
		ID: e.ID, TenantID: e.TenantID, AggregateType: e.AggregateType, AggregateID: e.AggregateID, Topic: e.Topic,
		SchemaID: e.SchemaID, SchemaVersion: e.SchemaVersion, OccurredAt: e.OccurredAt, CreatedAt: e.CreatedAt,
		Payload: msg.Payload, Metadata: msg.Metadata, RoutingKey: e.RoutingKey, RoutingConfig: e.RoutingConfig,
	}
}

// first is the first pass of an event: every target is planned, then what can go now is published.
func (f *Forwarder) first(w *work, msg *message.Message, e *router.Event, plan *router.Plan) {
	var few [4]router.Step
	var jobs []job
	matched, together, now := false, plan.Strategy == router.AllOrNothing, time.Now()
	for _, s := range plan.First(e, &f.publishers, few[:0]) {
		t := targetOf(s.Target)
		matched = matched || s.Err != nil || s.Deliver || s.Reason == router.Sampling
		switch {
		case s.Cause == router.NoTargetMatched:
			f.fallBack(w, msg, e, plan, s.Target.Name, s.Cause)
			return
		case s.Cause != "": // that its target gave up makes the delivery go on to the fallback
		case s.Err != nil && together:
			w.failed(t, s.Err)
		case s.Err != nil && w.permit.HeldBack(t.name): // its turn to die comes when those before are through
			w.held(t)
		case s.Err != nil:
			f.gaveUp(w, plan, t, "", s.Err)
		case !s.Deliver:
		case !s.Due.IsZero() && s.Due.After(now):
			w.delayed(t, s.Due.Sub(now))
		default:
			if jobs == nil {
				jobs = make([]job, 0, len(plan.Targets))
			}
			j, _ := f.job(t, s.Payload) // the plan has asked for its destination
			jobs = append(jobs, j)
		}
	}
	switch {
	case !matched:
		w.skipped(target{}, "no target wanted it")
	case len(jobs) > 0:
		f.publishAll(w, msg, plan, jobs)
	case !w.decided():
		w.sent(target{}) // every match was left out by sampling: nothing to do
	}
}

// again tries one delivery once more.
func (f *Forwarder) again(w *work, msg *message.Message, e *router.Event, plan *router.Plan) {
	if plan.Fallback != nil && standsIn(w.Retry, plan) {
		cause, _, _ := strings.Cut(w.Retry.Error, fallbackMark)
		f.fallBack(w, msg, e, plan, w.Retry.Target, cause)
		return
	}
	rt := find(plan, w.Retry.Target)
	if rt == nil {
		w.skipped(unplanned(w), "route removed")
		return
	}
	t := targetOf(rt)
	d, err := rt.Decide(e)
	if err != nil {
		f.gaveUp(w, plan, t, "", middleware.Permanent(err))
		return
	}
	if !d.Deliver {
		w.skipped(t, "route changed: "+string(d.Reason))
		return
	}
	j, err := f.job(t, d.Payload)
	if err != nil {
		f.gaveUp(w, plan, t, "", err)
		return
	}
	f.publish(w, msg, plan, &j)
}

// fallBack delivers the untransformed event to the plan's fallback, under the name of the delivery that it stands in for.
func (f *Forwarder) fallBack(w *work, msg *message.Message, e *router.Event, plan *router.Plan, name, cause string) {
	t := targetOf(plan.Fallback)
	t.name = targetName(name)
	j, err := f.job(t, e.Payload)
	if err != nil {
		f.gaveUp(w, plan, t, cause, err)
		return
	}
	j.cause = cause
	f.publish(w, msg, plan, &j)
}

// standsIn reports whether d has become, or was from the start, a delivery to the plan's fallback.
func standsIn(d *store.Delivery, plan *router.Plan) bool {
	rt := find(plan, d.Target)
	if rt == nil && d.Target == targetName(plan.Fallback.Name) {
		return true
	}
	if d.Destination != targetName(plan.Fallback.Destination) {
		return false
	}
	return rt == nil || targetName(rt.Destination) != d.Destination
}

func find(plan *router.Plan, name string) *router.Target {
	for _, t := range plan.Targets {
		if targetName(t.Name) == name {
			return t
		}
	}
	return nil
}

func targetOf(t *router.Target) target {
	return target{name: targetName(t.Name), destination: t.Destination, policy: t.Policy, holdKey: t.OnDead == router.HoldKey}
}

const fallbackMark = "; the fallback failed: "

// gaveUp records a failure of t. When its policy gives up and there is a fallback, the delivery goes on to that, with attempts of its own.
// The cause is why t, when it is the fallback, stands in.
func (f *Forwarder) gaveUp(w *work, plan *router.Plan, t target, cause string, err error) {
	res := w.failure(t, err)
	switch {
	case cause != "":
		res.err = storable(cause+fallbackMark+res.err, maxErrorText)
	case res.state == store.Dead && plan.FallsBack(t.destination):
		res = result{target: t, state: store.Waiting, err: res.err, fellBack: true}
		res.destination = plan.Fallback.Destination
	}
	w.record(res)
}

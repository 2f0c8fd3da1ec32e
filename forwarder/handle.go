package forwarder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/internal/fault"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/tracing"
	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/router"
)

var (
	errNotOurs = errors.New("the message does not come from this forwarder's subscriber")
	errOverdue = fmt.Errorf("the deadline of a middleware around the forwarder passed before anything was published: %w", context.DeadlineExceeded)
)

// job is one planned delivery of a unit.
type job struct {
	target
	topic     string
	publisher *publisher
	payload   []byte
	cause     string // of a fallback
	alone     bool   // the message is published as it is
}

// handle routes and delivers one event. What became of it is recorded on its unit, so it never returns an error for an event of its own:
// the Router would log the payload.
func (f *Forwarder) handle(msg *message.Message) error {
	u := unitFrom(msg.Context())
	if u == nil {
		return errNotOurs
	}
	if c := u.course; c == nil {
		defer u.reader.handled(u)
	} else {
		ok, late := c.begin()
		if !ok {
			return nil // given back, or handled already
		}
		defer c.change(func() { c.handled = true })
		if late {
			f.logger.Error("An event is sent that was recorded as skipped: add what acks early after AddTo, or nothing that waits behind it", errPassedBy,
				watermill.LogFields{outbox.KeySeq: u.event.Seq})
		}
	}
	growStack()
	if f.tracer != nil {
		span := f.tracer.begin(u, msg)
		defer func() { f.tracer.routed(span, u) }()
	}
	e, ctx := routed(u, msg), msg.Context()
	plan, err := f.routes.Resolve(e)
	if err != nil {
		u.failed(fallbackTarget(u), middleware.Permanent(err))
		f.bury(ctx, u, msg)
		return nil
	}
	switch deadline, bounded := u.deadline(ctx); {
	case bounded && !time.Now().Before(deadline):
		for _, t := range f.unfinished(u) {
			u.failed(t, errOverdue)
		}
	case u.whole():
		f.first(u, msg, e, plan)
	default:
		f.again(u, msg, e, plan)
	}
	if plan.Strategy == router.AllOrNothing {
		u.together()
	}
	f.bury(ctx, u, msg) // not under the context of an attempt
	return nil
}

// routed is u as routing sees it, with what middlewares have changed of its message.
func routed(u *unit, msg *message.Message) *router.Event {
	e := &u.event
	return &router.Event{
		ID: e.ID, TenantID: e.TenantID, AggregateType: e.AggregateType, AggregateID: e.AggregateID, Topic: e.Topic,
		SchemaID: e.SchemaID, SchemaVersion: e.SchemaVersion, OccurredAt: e.OccurredAt, CreatedAt: e.CreatedAt,
		Payload: msg.Payload, Metadata: msg.Metadata, RoutingKey: e.RoutingKey, RoutingConfig: e.RoutingConfig,
	}
}

// first is the first pass of an event: every target is planned, then what can go now is published.
func (f *Forwarder) first(u *unit, msg *message.Message, e *router.Event, plan *router.Plan) {
	var few [4]router.Step
	var jobs []job
	matched, together, now := false, plan.Strategy == router.AllOrNothing, time.Now()
	for _, s := range plan.First(e, &f.publishers, few[:0]) {
		t := targetOf(s.Target)
		matched = matched || s.Err != nil || s.Deliver || s.Reason == router.Sampling
		switch {
		case s.Cause == router.NoTargetMatched:
			f.fallBack(u, msg, e, plan, s.Target.Name, s.Cause)
			return
		case s.Cause != "": // that its target gave up makes the delivery go on to the fallback
		case s.Err != nil && together:
			u.failed(t, s.Err)
		case s.Err != nil && u.heldBack(t.name): // its turn to die comes when those before are through
			u.held(t)
		case s.Err != nil:
			f.gaveUp(u, plan, t, "", s.Err)
		case !s.Deliver:
		case !s.Due.IsZero() && s.Due.After(now):
			u.delayed(t, s.Due.Sub(now))
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
		u.skipped(target{}, "no target wanted it")
	case len(jobs) > 0:
		f.publishAll(u, msg, plan, jobs)
	case !u.decided():
		u.sent(target{}) // every match was left out by sampling: nothing to do
	}
}

// again tries one delivery once more.
func (f *Forwarder) again(u *unit, msg *message.Message, e *router.Event, plan *router.Plan) {
	if plan.Fallback != nil && standsIn(u.retry, plan) {
		cause, _, _ := strings.Cut(u.retry.Error, fallbackMark)
		f.fallBack(u, msg, e, plan, u.retry.Target, cause)
		return
	}
	rt := find(plan, u.retry.Target)
	if rt == nil {
		u.skipped(fallbackTarget(u), "route removed")
		return
	}
	t := targetOf(rt)
	d, err := rt.Decide(e)
	if err != nil {
		f.gaveUp(u, plan, t, "", middleware.Permanent(err))
		return
	}
	if !d.Deliver {
		u.skipped(t, "route changed: "+string(d.Reason))
		return
	}
	j, err := f.job(t, d.Payload)
	if err != nil {
		f.gaveUp(u, plan, t, "", err)
		return
	}
	f.publish(u, msg, plan, &j)
}

// fallBack delivers the untransformed event to the plan's fallback, under the name of the delivery that it stands in for.
func (f *Forwarder) fallBack(u *unit, msg *message.Message, e *router.Event, plan *router.Plan, name, cause string) {
	t := targetOf(plan.Fallback)
	t.name = targetName(name)
	j, err := f.job(t, e.Payload)
	if err != nil {
		f.gaveUp(u, plan, t, cause, err)
		return
	}
	j.cause = cause
	f.publish(u, msg, plan, &j)
}

// standsIn tells whether d has become, or was from the start, a delivery to the plan's fallback.
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

func (f *Forwarder) job(t target, payload []byte) (job, error) {
	pub, topic, err := f.publishers.find(t.destination)
	return job{target: t, topic: topic, publisher: pub, payload: payload}, err
}

// publishAll publishes jobs, several at once, and records what became of each.
func (f *Forwarder) publishAll(u *unit, msg *message.Message, plan *router.Plan, jobs []job) {
	if len(jobs) == 1 {
		// Nobody else gets the message, so that it need not be copied.
		jobs[0].alone = sameBytes(jobs[0].payload, msg.Payload)
		f.publish(u, msg, plan, &jobs[0])
		return
	}
	var wg sync.WaitGroup
	for i := range jobs {
		wg.Go(func() { f.publish(u, msg, plan, &jobs[i]) })
	}
	wg.Wait()
}

func (f *Forwarder) publish(u *unit, msg *message.Message, plan *router.Plan, j *job) {
	if u.heldBack(j.name) {
		u.held(j.target)
		return
	}
	end, ok := u.mayPublish()
	if !ok {
		u.undecided(j.target)
		return
	}
	if f.gates.isPaused(u, j.destination) {
		u.park(j.target, j.cause)
		return
	}
	leave, ok := j.publisher.gate.enter(j.destination)
	if !ok {
		u.park(j.target, j.cause)
		return
	}
	// Close of the Router cancels the message at once; a publish that has begun is let end.
	var ctx context.Context = detached{end, msg.Context()}
	if deadline, bounded := u.deadline(msg.Context()); bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	out := msg
	if j.alone {
		out.SetContext(ctx)
		address(out, u, j.name)
	} else {
		out = outgoing(ctx, u, msg, j.name, j.payload)
	}
	if j.cause != "" {
		out.Metadata[outbox.KeyCause] = j.cause
	}
	var begun, ended time.Time
	if f.subscriber.cfg.Hooks.Published != nil {
		begun = time.Now()
	}
	err := f.call(u, j, out)
	if !begun.IsZero() {
		ended = time.Now()
	}
	blamed := leave.done(err)
	counted := true
	id := unitID{u.event.Seq, j.name}
	switch {
	case err == nil:
		f.gates.strikes.forget(id)
		u.sent(j.target)
	case blamed.Kind != fault.Destination:
		f.gates.strikes.forget(id)
		f.gaveUp(u, plan, j.target, j.cause, err)
	case f.gates.closed(u, j.destination):
		f.gates.strikes.forget(id)
		counted = false
		u.park(j.target, cmp.Or(j.cause, errorText(err)))
	default:
		// Others get through. One that never does may be at fault itself.
		if n := f.gates.strikes.hit(id); blamed.Suspect && n > f.gates.strikes.limit {
			f.gaveUp(u, plan, j.target, j.cause, err)
		} else {
			counted = false
			u.postponed(j.target, err, n)
		}
	}
	f.tell(u, j, begun, ended, counted, err)
}

// tell tells the hook of an attempt that begun and ended.
func (f *Forwarder) tell(u *unit, j *job, begun, ended time.Time, counted bool, err error) {
	if hook := f.subscriber.cfg.Hooks.Published; hook != nil {
		hook(Attempt{
			Destination: j.destination, TenantID: u.event.TenantID, Topic: u.event.Topic, Number: u.attempts() + 1,
			Took: ended.Sub(begun), Lag: ended.Sub(u.event.CreatedAt), Counted: counted, Err: err,
		})
	}
}

// call calls the publisher. A panic is an error: it must not take other targets with it, nor a probe of a breaker.
func (f *Forwarder) call(u *unit, j *job, out *message.Message) (err error) {
	if f.tracer != nil {
		span := f.tracer.attempt(u, j.destination, j.topic, j.name, out)
		defer func() { tracing.End(span, err) }()
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the publisher panicked: %.200v", p)
			f.logger.Error("A publisher panicked", err, watermill.LogFields{"destination": j.destination, "stack": string(debug.Stack())})
		}
	}()
	return j.publisher.Publish(j.topic, out)
}

// sameBytes tells whether a and b are the same memory.
func sameBytes(a, b []byte) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// outgoing is msg as one destination gets it; destinations share no metadata.
func outgoing(ctx context.Context, u *unit, msg *message.Message, target string, payload []byte) *message.Message {
	out := message.NewMessageWithContext(ctx, msg.UUID, payload)
	out.Metadata = make(message.Metadata, len(msg.Metadata)+6)
	maps.Copy(out.Metadata, msg.Metadata)
	address(out, u, target)
	return out
}

// address puts the headers on out that one target gets.
func address(out *message.Message, u *unit, target string) {
	out.Metadata[outbox.KeyTarget] = target
	out.Metadata[outbox.KeyEpoch] = strconv.FormatInt(u.epoch, 10)
}

const fallbackMark = "; the fallback failed: "

// gaveUp records a failure of t. When its policy gives up and there is a fallback, the delivery goes on to that, with attempts of its own.
// The cause is why t, when it is the fallback, stands in.
func (f *Forwarder) gaveUp(u *unit, plan *router.Plan, t target, cause string, err error) {
	res := u.failure(t, err)
	switch {
	case cause != "":
		res.err = storable(cause+fallbackMark+res.err, maxErrorText)
	case res.state == store.Dead && plan.FallsBack(t.destination):
		res = result{target: t, state: store.Waiting, err: res.err, fellBack: true}
		res.destination = plan.Fallback.Destination
	}
	u.record(res)
}

package forwarder

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/internal/fault"
	"github.com/bento-outbox/watermill-outbox/internal/tracing"
	"github.com/bento-outbox/watermill-outbox/router"
)

// job is one planned delivery of a unit.
type job struct {
	target
	topic     string
	publisher *publisher
	payload   []byte
	cause     string // of a fallback
	own       bool   // the message is the job's own, and is published as it is
}

func (f *Forwarder) job(t target, payload []byte) (job, error) {
	pub, topic, err := f.publishers.find(t.destination)
	return job{target: t, topic: topic, publisher: pub, payload: payload}, err
}

// publishAll publishes jobs, several at once, and records what became of each.
func (f *Forwarder) publishAll(w *work, msg *message.Message, plan *router.Plan, jobs []job) {
	if len(jobs) == 1 {
		// Nobody else gets the message, so that it need not be copied.
		jobs[0].own = sameBytes(jobs[0].payload, msg.Payload)
		f.publishSafely(w, msg, plan, &jobs[0])
		return
	}
	var wg sync.WaitGroup
	for i := range jobs {
		wg.Go(func() { f.publishSafely(w, msg, plan, &jobs[i]) })
	}
	wg.Wait()
}

// publishSafely is publish. A panic, of a hook or of an error's own method, is a failure of its target: it must not take other targets with it, nor
// the process.
func (f *Forwarder) publishSafely(w *work, msg *message.Message, plan *router.Plan, j *job) {
	defer func() {
		if p := recover(); p != nil {
			err := fmt.Errorf("publishing panicked: %.200v", p)
			f.logger.Error("The publishing of an event panicked", err, watermill.LogFields{"destination": j.destination, "stack": string(debug.Stack())})
			if !w.recorded(j.name) {
				w.failed(j.target, err)
			}
		}
	}()
	f.publish(w, msg, plan, j)
}

func (f *Forwarder) publish(w *work, msg *message.Message, plan *router.Plan, j *job) {
	if w.permit.HeldBack(j.name) {
		w.held(j.target)
		return
	}
	// The end of the Router cancels the message at once; a publish that has begun is let end.
	ctx, ok := w.permit.Publish(msg.Context())
	if !ok {
		w.undecided(j.target)
		return
	}
	if f.gates.isPaused(&w.Event, j.destination) {
		w.park(j.target, j.cause)
		return
	}
	pass, ok := j.publisher.gate.enter(j.destination)
	if !ok {
		w.park(j.target, j.cause)
		return
	}
	used := false
	defer func() {
		if !used {
			pass.unused()
		}
	}()
	if deadline, bounded := w.deadline(msg); bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	out := msg
	if j.own {
		out.SetContext(ctx)
		address(out, w, j.name)
	} else {
		out = outgoing(ctx, w, msg, j.name, j.payload)
	}
	if j.cause != "" {
		out.Metadata[outbox.KeyCause] = j.cause
	}
	var begun, ended time.Time
	if f.cfg.Hooks.Published != nil {
		begun = time.Now()
	}
	err := f.call(w, j, out)
	if !begun.IsZero() {
		ended = time.Now()
	}
	blamed := pass.done(err)
	used = true
	counted := true
	id := strikeID{w.Event.Seq, j.name}
	switch {
	case err == nil:
		f.gates.strikes.forget(id)
		w.sent(j.target)
	case blamed.Kind != fault.Destination:
		f.gates.strikes.forget(id)
		f.gaveUp(w, plan, j.target, j.cause, err)
	case f.gates.Blocked(&w.Event, j.destination):
		f.gates.strikes.forget(id)
		counted = false
		w.park(j.target, cmp.Or(j.cause, errorText(err)))
	default:
		// Others get through. One that never does may be at fault itself.
		if n := f.gates.strikes.hit(id); blamed.Suspect && n > f.gates.strikes.limit {
			f.gaveUp(w, plan, j.target, j.cause, err)
		} else {
			counted = false
			w.postponed(j.target, err, n)
		}
	}
	f.tell(w, j, begun, ended, counted, err)
}

// tell tells the hook of an attempt that begun and ended.
func (f *Forwarder) tell(w *work, j *job, begun, ended time.Time, counted bool, err error) {
	if hook := f.cfg.Hooks.Published; hook != nil {
		hook(Attempt{
			Destination: j.destination, TenantID: w.Event.TenantID, Topic: w.Event.Topic, Number: w.Attempts() + 1,
			Took: ended.Sub(begun), Lag: ended.Sub(w.Event.CreatedAt), Counted: counted, Err: err,
		})
	}
}

// call calls the publisher. A panic is an error: it must not take other targets with it, nor a probe of a breaker.
func (f *Forwarder) call(w *work, j *job, out *message.Message) (err error) {
	if f.tracer != nil {
		span := f.tracer.attempt(w, j.destination, j.topic, j.name, out)
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

// sameBytes reports whether a and b are the same memory.
func sameBytes(a, b []byte) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// outgoing is msg as one destination gets it; destinations share no metadata.
func outgoing(ctx context.Context, w *work, msg *message.Message, target string, payload []byte) *message.Message {
	out := message.NewMessageWithContext(ctx, msg.UUID, payload)
	out.Metadata = make(message.Metadata, len(msg.Metadata)+6)
	maps.Copy(out.Metadata, msg.Metadata)
	address(out, w, target)
	return out
}

// address puts the headers on out that one target gets.
func address(out *message.Message, w *work, target string) {
	out.Metadata[outbox.KeyTarget] = target
	out.Metadata[outbox.KeyEpoch] = strconv.FormatInt(w.Epoch, 10)
}

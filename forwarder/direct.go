package forwarder

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/engine"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

// direct delivers units in the goroutine of the engine's worker.
type direct struct{ f *Forwarder }

var _ engine.Deliverer = direct{}

func (d direct) Deliver(ctx context.Context, u *engine.Unit, permit engine.Permit) engine.Verdict {
	w := newWork(ctx, u, permit)
	if msg := d.f.message(w); msg != nil {
		msg.SetContext(ctx)
		d.f.deliverSafely(w, msg)
	}
	return w.verdict()
}

// message returns the event as a message, or records that it cannot be one and returns nil.
func (g *group) message(w *work) *message.Message {
	msg, err := messageOf(&w.Event, g.store.Load().Identity())
	if err != nil {
		w.failed(unplanned(w), middleware.Permanent(err))
		return nil
	}
	return msg
}

// deliverSafely is deliver. A panic is a failure of what is unfinished, as it is under a Router, and ends nothing else.
func (f *Forwarder) deliverSafely(w *work, msg *message.Message) {
	defer func() { f.panicked(w, recover()) }()
	f.deliver(w, msg)
}

// panicked records a panic p while w was worked on as a failure of what is unfinished.
func (f *Forwarder) panicked(w *work, p any) {
	if p == nil {
		return
	}
	err := fmt.Errorf("routing panicked: %.200v", p)
	f.logger.Error("The delivery of an event panicked", err, watermill.LogFields{"topic": w.Event.Topic, "stack": string(debug.Stack())})
	defer func() {
		if recover() != nil { // again, when its routes were to be found out
			w.failed(unplanned(w), middleware.Permanent(err))
		}
	}()
	if !w.decided() {
		for _, t := range f.unfinished(w) {
			w.failed(t, err)
		}
	}
}

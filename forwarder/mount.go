package forwarder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/internal/delivery"
	"github.com/bento-outbox/watermill-outbox/internal/engine"
)

// mount is a forwarder as the subscriber of one Router: Close ends what that Router subscribed to, and leaves the forwarder usable.
type mount struct {
	f *Forwarder

	mu      sync.Mutex
	closed  bool
	members memberships
}

var _ message.Subscriber = (*mount)(nil)

// Subscribe returns the events as messages. It returns before the database can be reached, and then waits for it; tables that are missing are an error.
func (m *mount) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, fmt.Errorf("outbox forwarder: %w", ErrClosed)
	}
	out := make(chan *message.Message)
	joined, err := m.f.join(ctx, topic, mounted{m.f, out}, func() { close(out) })
	if err != nil {
		return nil, fmt.Errorf("outbox forwarder: %w", err)
	}
	m.members = append(m.members, joined)
	return out, nil
}

// Close stops reading for the Router, as [Forwarder.Close] does.
func (m *mount) Close() error {
	m.mu.Lock()
	m.closed = true
	list := slices.Clone(m.members)
	m.mu.Unlock()
	return list.end()
}

// String is the name that Watermill gives the subscriber in the contexts of messages.
func (m *mount) String() string { return "forwarder.Forwarder" }

// mounted delivers units through a Router of the application, which gets them as messages and calls the forwarder's handler.
type mounted struct {
	f   *Forwarder
	out chan<- *message.Message
}

var _ engine.Deliverer = mounted{}

func (m mounted) Deliver(ctx context.Context, u *engine.Unit, permit engine.Permit) engine.Verdict {
	w := newWork(ctx, u, permit)
	w.outcome = delivery.New(u.Attempts()+1, u.Event.CreatedAt).Under(ctx, false)
	msg := m.f.message(w)
	if msg == nil {
		return w.verdict()
	}
	w.course, w.repeat = &course{}, u.Retry != nil || m.f.repeats.take(u.Event.Seq)
	msg.SetContext(workContext{ctx, w})
	select {
	case m.out <- msg:
		m.awaitSafely(w, msg)
		return w.verdict()
	case <-ctx.Done():
		return engine.Verdict{Shown: w.repeat} // else nobody has seen it
	}
}

// awaitSafely is await. What a handler that panicked left undone is found out by the routes, which may panic again.
func (m mounted) awaitSafely(w *work, msg *message.Message) {
	defer func() { m.f.panicked(w, recover()) }()
	m.f.await(w, msg)
}

var errNotOurs = errors.New("the message does not come from this forwarder")

// handle is the handler of a Router. It never returns an error for an event of the forwarder's own: the Router would log the payload.
func (f *Forwarder) handle(msg *message.Message) error {
	w := workFrom(msg.Context())
	if w == nil {
		return errNotOurs
	}
	ok, late := w.course.begin()
	if !ok {
		return nil // given back, or handled already
	}
	defer w.course.change(func() { w.course.handled = true })
	if late {
		f.logger.Error("An event is sent that was recorded as skipped: add what acks early after AddTo, or nothing that waits behind it", errPassedBy,
			watermill.LogFields{outbox.KeySeq: w.Event.Seq})
	}
	growStack()
	f.deliver(w, msg)
	return nil
}

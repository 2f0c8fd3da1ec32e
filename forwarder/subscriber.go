package forwarder

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/delivery"
	"github.com/bento-outbox/watermill-outbox/internal/engine"
)

// subscriber reads events out of the outbox for handlers other than a forwarder's.
type subscriber struct{ *group }

var _ message.Subscriber = subscriber{}

// NewSubscriber returns a subscriber whose messages are the events of the outbox, for an application that handles them itself. It does not use db, which
// stays the caller's to close, before Subscribe. A nil logger logs nothing.
//
// Each message is delivered until it is acked. A nack counts an attempt of SubscriberConfig.RetryPolicy: the message comes again after the policy's
// wait, also after a restart, and is dead when the policy gives up. Messages of one ordering key come one after the other, in the order of their
// numbers, the next when the one before was acked or died. What was not acked when the subscriber is closed or the process is killed comes again.
//
// Every Subscribe call is a member of the group; members share the slots fairly and take over from each other. [AllTopics] subscribes to every topic; a
// subscription to one topic is a group of its own, named after both. A subscription needs up to six connections of the pool. Its channel is closed
// when ctx ends or Close was called, after what is in flight has been acked and written, or CloseTimeout has passed. The error of Subscribe
// wraps [ErrGroupConflict] when another group serves some of the same events, and [ErrClosed] after Close. The subscriber is safe for
// concurrent use.
func NewSubscriber(db *sql.DB, cfg SubscriberConfig, logger watermill.LoggerAdapter) (message.Subscriber, error) {
	if logger == nil {
		logger = watermill.NopLogger{}
	}
	g, err := newGroup(db, cfg, logger)
	if err != nil {
		return nil, fmt.Errorf("outbox subscriber: %w", err)
	}
	return subscriber{g}, nil
}

func (s subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if topic == "" {
		return nil, fmt.Errorf("outbox subscriber: the topic is empty; forwarder.AllTopics (%q) means all", AllTopics)
	}
	out := make(chan *message.Message)
	if _, err := s.join(ctx, topic, plain{s.group, out}, func() { close(out) }); err != nil {
		return nil, fmt.Errorf("outbox subscriber: %w", err)
	}
	return out, nil
}

// plain delivers units as messages to whoever reads them. A message is one delivery, to its own topic.
type plain struct {
	*group
	out chan<- *message.Message
}

var _ engine.Deliverer = plain{}

func (p plain) Deliver(ctx context.Context, u *engine.Unit, permit engine.Permit) engine.Verdict {
	w := newWork(ctx, u, permit)
	name := targetName(u.Event.Topic)
	t := target{name: name, destination: name, policy: p.cfg.RetryPolicy}
	if permit.HeldBack(name) {
		w.held(t)
		return w.verdict()
	}
	w.outcome = delivery.New(u.Attempts()+1, u.Event.CreatedAt).Under(ctx, true)
	msg := p.message(w)
	if msg == nil {
		return w.verdict()
	}
	own, cancel := context.WithCancel(workContext{ctx, w})
	defer cancel()
	msg.SetContext(own)
	select {
	case p.out <- msg:
	case <-ctx.Done():
		return engine.Verdict{}
	}
	select {
	case <-msg.Acked():
		w.answered(t, true)
	case <-msg.Nacked():
		if ctx.Err() != nil && w.outcome.Outcome().Kind == delivery.None {
			return engine.Verdict{} // the handler was told to end: that is no failure
		}
		w.answered(t, false)
	case <-permit.Aborted():
	}
	return w.verdict()
}

var errNacked = errors.New("message was nacked")

// answered records what an ack or a nack means, unless a middleware has recorded an outcome.
func (w *work) answered(t target, acked bool) {
	switch o := w.outcome.Outcome(); {
	case o.Kind == delivery.Skipped && w.Retry == nil:
		w.skipped(target{}, o.Reason)
	case o.Kind == delivery.Skipped:
		w.skipped(t, o.Reason)
	case o.Kind == delivery.Delayed:
		w.delayed(t, time.Until(o.Until))
	case o.Kind == delivery.Failed:
		w.failed(t, o.Err)
	case acked:
		w.sent(t)
	default:
		w.failed(t, errNacked)
	}
}

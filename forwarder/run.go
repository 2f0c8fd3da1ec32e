package forwarder

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// AddTo adds the forwarder to r as a consumer handler, and returns the handler. A forwarder may be added to several Routers, and run besides
// with Run or Drain: each is a member of the group and gets a share of the slots. Close of r ends what r runs and leaves the forwarder usable;
// Close of the forwarder ends all.
//
// The tables are looked at when r runs: those that are missing, too old or too new are an error of r.Run. A database that cannot be reached yet is
// waited for in the background; an error after the wait is logged and ends the handler.
//
// Middlewares of r and of the returned handler run around the routing of each event, not around each publish. What they may expect differs from
// other handlers:
//
//   - The handler returns nil whatever becomes of the event: failures are recorded per target, retried by the target's policy and kept as
//     dead letters. PoisonQueue, Retry, CircuitBreaker and DelayOnError see no failure of a publisher, and metrics count every event as a
//     success. Use [Config.PoisonDestination], retry policies, the forwarder's own circuit breaker and [Hooks].
//   - The deadline of the message's context, as Timeout sets it, bounds the publishing. An event that is late fails and is retried.
//   - What the handler did counts, whenever the message is acked: the event keeps its place in flight and in the order of its key until the
//     handler returns. A second call of the handler with one message does nothing.
//   - A middleware that acks without calling the handler takes the event, which ends as SKIPPED. It can take an event on its first pass only: a
//     retry, or an event that was given back, stays due and an error is logged, for a middleware that remembers messages would lose it.
//   - A middleware that fails makes every unfinished target fail once.
//   - Close does not wait for events that have not reached the handler, such as those that wait in a Throttle: they are given back, and come again.
//
// Middlewares that are added before AddTo run outside of what the forwarder can watch: after such a one acked a message without calling the
// handler, the event keeps its place for half a second more.
func (f *Forwarder) AddTo(r *message.Router) *message.Handler {
	h := r.AddConsumerHandler(f.name, AllTopics, &mount{f: f}, f.handle)
	h.AddMiddleware(watchInside)
	return h
}

// Run forwards until ctx ends, and returns when what was in flight is written. It may be called again, and while the forwarder runs elsewhere.
//
// A database that cannot be reached when Run begins is waited for; [Forwarder.Ready] says so meanwhile. A database or user that does not exist is an error at
// once. The error wraps [schema.ErrSchema] when the
// tables are missing, too old or too new, [ErrGroupConflict] when another group serves some of the same events, and [ErrClosed] after
// Close.
func (f *Forwarder) Run(ctx context.Context) error {
	m, err := f.join(ctx, AllTopics, direct{f}, func() {})
	if err != nil {
		return fmt.Errorf("outbox forwarder: %w", err)
	}
	return m.wait()
}

// wait waits until the member has ended.
func (m *membership) wait() error {
	<-m.done
	if m.err != nil {
		return fmt.Errorf("outbox forwarder: %w", m.err)
	}
	return nil
}

// Drain forwards until no event that the forwarder serves is pending and no delivery is due or free to go on, and returns. What waits for a later
// retry stays, and so does what is held. With other forwarders of the group alive, and with this one on a Router, it waits for their share
// too. It may be called again. The error is not nil when ctx or the forwarder ended first; else errors are those of [Forwarder.Run]. A database that
// cannot be reached is waited for: give ctx a deadline, or a logger to New.
func (f *Forwarder) Drain(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	m, err := f.join(ctx, AllTopics, direct{f}, func() {})
	if err != nil {
		return fmt.Errorf("outbox forwarder: %w", err)
	}
	go func() { cancel(f.drained(ctx)) }()
	err = m.wait()
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errDrained):
		return err
	case cause == nil && err == nil:
		return fmt.Errorf("outbox forwarder: before it was drained: %w", ErrClosed)
	case err != nil:
		return errors.Join(err, cause)
	default:
		if waits := f.waits(m); waits != nil {
			return fmt.Errorf("outbox forwarder: not drained: the database was never reached: %w: %w", cause, waits)
		}
		return fmt.Errorf("outbox forwarder: not drained: %w", cause)
	}
}

var errDrained = errors.New("drained")

// drained returns errDrained when nothing is left to do.
func (f *Forwarder) drained(ctx context.Context) error {
	t := time.NewTicker(f.cfg.SleepIdleMax)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		s := f.store.Load()
		if s == nil {
			continue // the database is waited for
		}
		open, err := s.Open(ctx, f.cfg.filter())
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			f.logger.Error("Cannot tell whether the outbox is drained; trying again", err, nil)
		} else if !open && f.idle() {
			return errDrained
		}
	}
}

// Wake makes the forwarder look for events at once, however long it would sleep. An application that publishes and forwards in one process may call it
// after a commit. It costs nothing, and calling it too often is harmless.
func (f *Forwarder) Wake() { f.group.Wake() }

// Ready returns nil when the forwarder can deliver events: every member holds its lease, can renew it, and can read and settle. Else the error says
// what is lacking, without names of hosts and users, so that it may be shown to whoever asks; the log has the cause. It runs the statements that read
// and settle, with nothing to read and nothing to settle, so that it also tells what the next event would meet.
//
// It is meant for a readiness check, such as monitor.Ready. A forwarder that is not ready goes on trying: it need not be restarted.
func (f *Forwarder) Ready(ctx context.Context) error { return f.group.Ready(ctx) }

// Close stops reading, waits for what is in flight and gives the slots back, on every Router that the forwarder runs on. It waits at most
// CloseTimeout; what did not end by then comes again. The forwarder cannot be used again. Closing twice is harmless.
func (f *Forwarder) Close() error { return f.group.Close() }

// Abort is Close without the wait, for a process that must end: what is being published is given up and will be sent again, and the slots are
// given back at once. The process must not go on to publish.
func (f *Forwarder) Abort() error { return f.group.Abort() }

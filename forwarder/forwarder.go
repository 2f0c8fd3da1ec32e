// Package forwarder is the running part of the outbox: the [Publisher] that stores events inside the application's transaction, the
// [Subscriber] that reads them in order, and the [Forwarder] that delivers them from a Watermill Router.
//
// A forwarder loses nothing and gives no order away when it is closed, killed, paused or cut off from its database; what it may do then
// is to send an event again. Consumers that must not see one twice deduplicate on the metadata key [outbox.KeyID].
package forwarder

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/bento-outbox/watermill-outbox/router"
)

// Config is what a forwarder is made of. The zero value works.
type Config struct {
	// Subscriber says what is read and how.
	Subscriber SubscriberConfig
	// Routes decides where events go: a *[router.Table], or a *[router.Live] to reload it while the forwarder runs. By default an event goes
	// where its routing config says, else to its routing key, else to its topic at the default publisher.
	Routes Resolver
	// DefaultPublisher is the name of the publisher of destinations without one. Defaults to "default", or to the only publisher there is.
	DefaultPublisher string
	// PoisonDestination also gets every event that is dead, once for each target that gave up, with the cause in metadata, under the keys of
	// Watermill's PoisonQueue middleware. What cannot be published there is dead all the same. Empty by default: none.
	PoisonDestination string
	// BreakerFailures is how many failures in a row that are the destination's fault open a circuit breaker: the publisher is out of reach, silent
	// or takes nothing for now, or one of its topics does. Deliveries to it are then held without using attempts, but for a probe every
	// BreakerProbe. Package adapters says which errors those are. Defaults to 5.
	BreakerFailures int
	// BreakerProbe is the wait between two probes of a publisher or topic whose breaker is open. Defaults to 2 s.
	BreakerProbe time.Duration
	// HandlerName is the name of the handler on the Router. Defaults to "outbox". Two forwarders on one Router need two names.
	HandlerName string
	// TracerProvider makes spans of reads that found something, of the routing of each event and of each attempt to publish, which hang below
	// the span that the event was published under where outbox.Config.Propagator had it stored. Messages carry the span of their attempt.
	// Nil switches tracing off, whatever OpenTelemetry's global provider is; stored trace contexts are passed on as they are.
	TracerProvider trace.TracerProvider
	// Propagator reads and writes trace contexts in metadata. Defaults to W3C: traceparent, tracestate and baggage.
	Propagator propagation.TextMapPropagator
}

// Resolver resolves events to plans. It must be safe for concurrent use.
type Resolver interface {
	Resolve(e *router.Event) (*router.Plan, error)
}

var anyRoutes = sync.OnceValue(func() Resolver {
	table, err := router.NewTable(router.Config{})
	if err != nil {
		panic(err) // an empty config has nothing that can be wrong
	}
	return table
})

// Forwarder delivers the events of an outbox. It runs on the application's own Router, see [Forwarder.AddTo], or on one of its own, see
// [Forwarder.Run].
type Forwarder struct {
	subscriber *Subscriber
	publishers publishers
	routes     Resolver
	poison     string
	gates      *gates
	noting     sync.Mutex // of the state of breakers
	tracer     *tracer    // nil when tracing is off
	name       string
	logger     watermill.LoggerAdapter
}

// New checks cfg and that the tables are there. Publishers are the destinations by name; they, and db, stay the caller's to close, after
// the forwarder. Subscribers and publishers are used concurrently.
func New(ctx context.Context, db *sql.DB, destinations map[string]message.Publisher, cfg Config, logger watermill.LoggerAdapter) (*Forwarder, error) {
	if logger == nil {
		logger = watermill.NopLogger{}
	}
	pubs, err := newPublishers(destinations, cfg.DefaultPublisher)
	if err != nil {
		return nil, fmt.Errorf("outbox forwarder: %w", err)
	}
	if cfg.Routes == nil {
		cfg.Routes = anyRoutes()
	}
	if cfg.PoisonDestination != "" {
		if _, _, err := pubs.find(cfg.PoisonDestination); err != nil {
			return nil, fmt.Errorf("outbox forwarder: PoisonDestination: %w", err)
		}
	}
	if cfg.HandlerName == "" {
		cfg.HandlerName = "outbox"
	}
	sub, err := NewSubscriber(ctx, db, cfg.Subscriber, logger)
	if err != nil {
		return nil, fmt.Errorf("outbox forwarder: %w", err)
	}
	if c := sub.cfg; c.CloseTimeout < c.PublishTimeout {
		return nil, fmt.Errorf("outbox forwarder: CloseTimeout is %s, must not be less than PublishTimeout %s: Close would hand over what is still being published",
			c.CloseTimeout, c.PublishTimeout)
	}
	f := &Forwarder{
		subscriber: sub, publishers: pubs, routes: cfg.Routes, poison: cfg.PoisonDestination, name: cfg.HandlerName, logger: logger,
	}
	if cfg.BreakerFailures == 0 {
		cfg.BreakerFailures = 5
	}
	if cfg.BreakerProbe == 0 {
		cfg.BreakerProbe = 2 * time.Second
	}
	if cfg.BreakerFailures < 1 || cfg.BreakerProbe < 0 {
		return nil, fmt.Errorf("outbox forwarder: BreakerFailures is %d and BreakerProbe %s; neither may be negative", cfg.BreakerFailures, cfg.BreakerProbe)
	}
	f.gates = newGates(cfg.BreakerFailures, cfg.BreakerProbe, pubs, f.breakerChanged)
	sub.finish, sub.plain, sub.gates = f.finish, false, f.gates
	if f.tracer = newTracer(cfg, sub.cfg); f.tracer != nil {
		sub.cfg.Hooks = f.tracer.watching(sub.cfg.Hooks)
	}
	return f, nil
}

// AddTo adds the forwarder to r as a consumer handler, and returns the handler. A forwarder may be added to several Routers, and run besides
// with Run or Drain: each is a member of the group and gets a share of the slots. Close of r ends what r runs and leaves the forwarder usable;
// Close of the forwarder ends all.
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
	h := r.AddConsumerHandler(f.name, AllTopics, &mount{sub: f.subscriber}, f.handle)
	h.AddMiddleware(watchInside)
	return h
}

// Run forwards until ctx ends, on a Router of its own, and returns when what was in flight is written down. It may be called again, and while the
// forwarder runs elsewhere. After Close the error wraps [ErrSubscriberClosed].
func (f *Forwarder) Run(ctx context.Context) error { return f.run(ctx, func(*message.Router) {}) }

// run runs a Router of its own; starting is called with it before.
func (f *Forwarder) run(ctx context.Context, starting func(*message.Router)) error {
	m := &mount{sub: f.subscriber, alone: true}
	if err := m.join(ctx); err != nil {
		return fmt.Errorf("outbox forwarder: %w", err)
	}
	r, err := message.NewRouter(message.RouterConfig{CloseTimeout: f.subscriber.cfg.CloseTimeout + 5*time.Second}, f.logger)
	if err == nil {
		r.AddConsumerHandler(f.name, AllTopics, m, f.handle)
		starting(r)
		err = r.Run(ctx)
	}
	if err := errors.Join(err, m.Close()); err != nil {
		return fmt.Errorf("outbox forwarder: %w", err)
	}
	return nil
}

// Drain forwards until no event that the forwarder serves is pending and no delivery is due or free to go on, and returns. What waits for a later
// retry stays, and so does what is held. With other forwarders of the group alive, and with this one on another Router, it waits for their share
// too. It may be called again. The error is not nil when ctx or the forwarder ended first.
func (f *Forwarder) Drain(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := f.run(ctx, func(r *message.Router) {
		go func() {
			select {
			case <-r.Running():
				cancel(f.drained(ctx))
			case <-ctx.Done():
			}
		}()
	})
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errDrained):
		return err
	case cause == nil && err == nil:
		return fmt.Errorf("outbox forwarder: closed before it was drained: %w", ErrSubscriberClosed)
	default:
		return errors.Join(err, cause)
	}
}

var errDrained = errors.New("drained")

func (f *Forwarder) drained(ctx context.Context) error {
	s := f.subscriber
	t := time.NewTicker(s.cfg.SleepIdleMax)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		open, err := s.store.Open(ctx, s.cfg.filter())
		if err != nil {
			f.logger.Error("Cannot tell whether the outbox is drained; trying again", err, nil)
		} else if !open && s.idle() {
			return errDrained
		}
	}
}

// Close stops reading, waits for what is in flight and hands the slots over to others, on every Router that the forwarder runs on. The forwarder
// cannot be used again. See [Subscriber.Close].
func (f *Forwarder) Close() error { return f.subscriber.Close() }

// Abort is Close without the wait, for a process that must end: what is being published is given up and will be sent again, and the slots are
// handed over at once. The process must not go on to publish.
func (f *Forwarder) Abort() error {
	readers := f.subscriber.close()
	for _, r := range readers {
		r.giveOver()
	}
	return closeReaders(readers)
}

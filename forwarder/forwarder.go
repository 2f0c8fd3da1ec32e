// Package forwarder is the running part of the outbox: a [Forwarder] reads what was published inside transactions, in order, and delivers it.
//
// A forwarder loses nothing and gives no order away when it is closed, killed, paused or cut off from its database; what it may do then
// is to send an event again. Consumers that must not see one twice deduplicate on the metadata key [outbox.KeyID].
package forwarder

import (
	"database/sql"
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

// Forwarder delivers the events of an outbox. It runs by itself, see [Forwarder.Run], or on the application's own Router, see [Forwarder.AddTo]. It is
// safe for concurrent use.
type Forwarder struct {
	*group
	publishers publishers
	routes     Resolver
	poison     string
	gates      *gates
	noting     sync.Mutex // of the state of breakers
	tracer     *tracer    // nil when tracing is off
	name       string
}

// New returns a forwarder that does nothing yet. It checks cfg and does not use db: the tables are looked at when the forwarder runs. Publishers are
// the destinations by name; they, and db, stay the caller's to close, after the forwarder. Publishers are used concurrently. A nil logger logs
// nothing.
func New(db *sql.DB, destinations map[string]message.Publisher, cfg Config, logger watermill.LoggerAdapter) (*Forwarder, error) {
	f, err := newForwarder(db, destinations, cfg, logger)
	if err != nil {
		return nil, fmt.Errorf("outbox forwarder: %w", err)
	}
	return f, nil
}

func newForwarder(db *sql.DB, destinations map[string]message.Publisher, cfg Config, logger watermill.LoggerAdapter) (*Forwarder, error) {
	if logger == nil {
		logger = watermill.NopLogger{}
	}
	pubs, err := newPublishers(destinations, cfg.DefaultPublisher)
	if err != nil {
		return nil, err
	}
	if cfg.Routes == nil {
		cfg.Routes = anyRoutes()
	}
	if cfg.PoisonDestination != "" {
		if _, _, err := pubs.find(cfg.PoisonDestination); err != nil {
			return nil, fmt.Errorf("PoisonDestination: %w", err)
		}
	}
	if cfg.HandlerName == "" {
		cfg.HandlerName = "outbox"
	}
	if cfg.BreakerFailures == 0 {
		cfg.BreakerFailures = 5
	}
	if cfg.BreakerProbe == 0 {
		cfg.BreakerProbe = 2 * time.Second
	}
	if cfg.BreakerFailures < 1 || cfg.BreakerProbe < 0 {
		return nil, fmt.Errorf("BreakerFailures is %d and BreakerProbe %s; neither may be negative", cfg.BreakerFailures, cfg.BreakerProbe)
	}
	g, err := newGroup(db, cfg.Subscriber, logger)
	if err != nil {
		return nil, err
	}
	if c := g.cfg; c.CloseTimeout < c.PublishTimeout {
		return nil, fmt.Errorf("CloseTimeout is %s, must not be less than PublishTimeout %s: Close would hand over what is still being published",
			c.CloseTimeout, c.PublishTimeout)
	}
	f := &Forwarder{group: g, publishers: pubs, routes: cfg.Routes, poison: cfg.PoisonDestination, name: cfg.HandlerName}
	f.gates = newGates(cfg.BreakerFailures, cfg.BreakerProbe, pubs, f.breakerChanged)
	g.gates, g.probe = f.gates, cfg.BreakerProbe
	if f.tracer = newTracer(cfg, g.cfg); f.tracer != nil {
		g.cfg.Hooks = f.tracer.watching(g.cfg.Hooks)
	}
	return f, nil
}

// Package forwarder delivers the events of an outbox: a [Forwarder] reads them in order, routes them and publishes them to their destinations.
//
// When a forwarder is closed, killed, paused or cut off from its database, no event is lost and order is kept; some events may be delivered again.
// Consumers that must not process an event twice deduplicate on the metadata key [outbox.KeyID].
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

	"github.com/bento-outbox/watermill-outbox/internal/engine"
	"github.com/bento-outbox/watermill-outbox/router"
)

// Config configures a [Forwarder]. The zero value works.
type Config struct {
	// Subscriber configures what is read, and how.
	Subscriber SubscriberConfig
	// Routes decides where events go: a *[router.Table], or a *[router.Live] that can be reloaded. By default an event follows its routing config, else
	// its routing key, else goes to its topic at the default publisher.
	Routes Resolver
	// DefaultPublisher is the publisher of destinations that name none. Defaults to the publisher named "default", or to the only one. Without either, an
	// event with such a destination is dead at once.
	DefaultPublisher string
	// PoisonDestination receives every dead event, once per target that gave up, with the cause in the metadata keys of Watermill's PoisonQueue
	// middleware. The dead letter stays in the table, also when publishing there fails. Defaults to none.
	PoisonDestination string
	// BreakerFailures is the number of consecutive failures that open a circuit breaker of a publisher or topic. Only failures of the destination
	// count: it is unreachable, does not answer, or refuses everything; see package adapters. While the breaker is open, deliveries are held without
	// using attempts, except for a probe every BreakerProbe. Defaults to 5.
	BreakerFailures int
	// BreakerProbe is the interval between probes while a breaker is open. Defaults to 2 s.
	BreakerProbe time.Duration
	// HandlerName is the name of the handler on the Router. Defaults to "outbox". Two forwarders on one Router need two names.
	HandlerName string
	// TracerProvider creates spans for reads that found events, for the routing of each event and for each attempt to publish. Their parent is the
	// span of the publisher, if outbox.Config.Propagator stored it; messages carry the span of their attempt. Nil disables tracing, whatever
	// OpenTelemetry's global provider is; stored trace contexts are passed on unchanged.
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

// New returns a forwarder. It checks cfg and does no I/O: the tables are checked when the forwarder runs. Destinations are publishers by name; they are
// used concurrently. The caller closes them and db, after the forwarder. A nil logger discards logs.
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
	f.gates.resumed = func() { f.opens(engine.Scope{}) } // for all members, of which one is told
	g.gates, g.probe = f.gates, cfg.BreakerProbe
	if f.tracer = newTracer(cfg, g.cfg); f.tracer != nil {
		g.cfg.Hooks = f.tracer.watching(g.cfg.Hooks)
	}
	return f, nil
}

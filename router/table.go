package router

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/bento-outbox/watermill-outbox/internal/rules"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

// Config is what a Table is made of. The zero value routes by routing_key, else by topic.
type Config struct {
	// Policies are retry policies by name, added to the built-in ones of [middleware.Policies], or in their place.
	Policies map[string]middleware.RetryPolicy
	// Routes are tried in their order for events with neither routing_config nor routing_key.
	Routes Routes
	// Publishers are the names that may stand in front of :// in a destination. Nil accepts every name.
	Publishers []string
	// AllowExprPerEvent allows `when` in the configs that events carry. What it costs is bounded as for conditions, but it can fail on a payload,
	// so set it only when you trust whoever publishes. Static routes may always have it.
	AllowExprPerEvent bool
	// Limits bound the configs, those of static routes too. The zero value means the defaults.
	Limits Limits
}

// Bounds of what a table remembers, in entries of one of two generations.
const (
	cachedConfigs      = 1000
	cachedConfigBytes  = 8 << 20
	cachedDestinations = 10_000
	cachedTopics       = 10_000
	cachedKeyBytes     = 4 << 20
)

// Table resolves events to plans. It is immutable and safe for concurrent use; see [Live] for reloading.
type Table struct {
	settings settings
	static   *static

	configs      *cache[compiled] // by their text; errors are kept as well
	destinations *cache[*Plan]    // plans of one target, by its destination
	topics       *cache[*Plan]    // static routes, by topic; nil where none matches
}

type compiled struct {
	plan *Plan
	err  error
}

// NewTable compiles cfg. The error is an [InvalidConfigError] with all the faults of routes and policies.
func NewTable(cfg Config) (*Table, error) {
	t := &Table{
		settings:     newSettings(&cfg),
		configs:      newCache[compiled](cachedConfigs, cachedConfigBytes),
		destinations: newCache[*Plan](cachedDestinations, cachedKeyBytes),
		topics:       newCache[*Plan](cachedTopics, cachedKeyBytes),
	}
	r := &reader{}
	for _, name := range slices.Sorted(maps.Keys(cfg.Policies)) {
		if err := cfg.Policies[name].Validate(); err != nil {
			r.Add(rules.Pointer("/policies", name), "%s", err)
		}
	}
	t.static = compileRoutes(r, cfg.Routes, trusted(&cfg))
	if err := r.err(); err != nil {
		return nil, err
	}
	return t, nil
}

// Resolve returns the plan of e: its routing_config, else its routing_key, else the first static route whose pattern
// matches its topic, else a plan whose one destination is its topic. A config with neither targets nor a fallback counts as none.
//
// Plans are compiled once and remembered. The error wraps [ErrInvalidConfig] when the event's own config cannot be compiled; it
// is permanent.
func (t *Table) Resolve(e *Event) (*Plan, error) {
	if e.RoutingConfig != "" {
		if len(e.RoutingConfig) > t.settings.limits.ConfigSize { // refused without a look, and too long to remember
			_, err := compile(e.RoutingConfig, t.settings)
			return nil, fmt.Errorf("routing_config: %w", err)
		}
		c := t.configs.get(e.RoutingConfig, func() compiled {
			plan, err := compile(strings.Clone(e.RoutingConfig), t.settings)
			if err != nil {
				err = fmt.Errorf("routing_config: %w", err)
			}
			return compiled{plan, err}
		})
		if c.err != nil || !c.plan.empty() {
			return c.plan, c.err
		}
	}
	if e.RoutingKey != "" {
		return t.simple(e.RoutingKey), nil
	}
	if len(t.static.plans) > 0 {
		if plan := t.topics.get(e.Topic, func() *Plan { return t.static.find(e.Topic) }); plan != nil {
			return plan, nil
		}
	}
	return t.simple(e.Topic), nil
}

// simple returns the plan that delivers every event to destination.
func (t *Table) simple(destination string) *Plan {
	return t.destinations.get(destination, func() *Plan {
		destination := strings.Clone(destination)
		return &Plan{Strategy: BestEffort, Targets: []*Target{{
			Name: destination, Destination: destination, Policy: t.settings.policies["default"], PolicyName: "default", OnDead: Continue,
		}}}
	})
}

// Validate reports all that is wrong with the JSON of a routing config that an event is to carry, under the settings of t. The
// error is an [InvalidConfigError].
func (t *Table) Validate(config []byte) error {
	_, err := compile(string(config), t.settings)
	return err
}

// Live is a table that can be exchanged while it is in use. It is safe for concurrent use.
type Live struct{ table atomic.Pointer[Table] }

// NewLive returns a Live that resolves by t.
func NewLive(t *Table) *Live {
	l := &Live{}
	l.table.Store(t)
	return l
}

// Store makes l resolve by t from now on. An event that is resolved meanwhile gets its plan from one of the two.
func (l *Live) Store(t *Table) { l.table.Store(t) }

// Load returns the table in use.
func (l *Live) Load() *Table { return l.table.Load() }

// Resolve is [Table.Resolve] of the table in use.
func (l *Live) Resolve(e *Event) (*Plan, error) { return l.table.Load().Resolve(e) }

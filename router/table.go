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

// Config configures a [Table]. The zero value routes by routing key, else by topic.
type Config struct {
	// Policies are retry policies by name. They add to the built-in ones of [middleware.Policies], or replace them.
	Policies map[string]middleware.RetryPolicy
	// Routes are tried in order for events without a routing config and routing key.
	Routes Routes
	// Publishers are the names that destinations may have before ://. Nil accepts every name.
	Publishers []string
	// AllowExprPerEvent allows When in the configs that events carry. Its cost is limited like that of conditions, but it can fail on a
	// payload: set it only when publishers are trusted. Static routes can always use When.
	AllowExprPerEvent bool
	// Limits bound all configs, including those of static routes. The zero value selects the defaults.
	Limits Limits
}

// Limits of the caches of a table, for each of two generations.
const (
	cachedConfigs      = 1000
	cachedConfigBytes  = 8 << 20
	cachedDestinations = 10_000
	cachedTopics       = 10_000
	cachedKeyBytes     = 4 << 20
)

// Table resolves events to plans. It is immutable and safe for concurrent use; see [Live] to reload routes.
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

// Resolve returns the plan of e: that of its routing config, else of its routing key, else of the first static route whose pattern
// matches its topic, else a plan whose only destination is its topic. A config with neither targets nor a fallback is ignored.
//
// Plans are cached. The error is permanent and wraps [ErrInvalidConfig]: the routing config of e does not compile.
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

// Validate returns an [InvalidConfigError] with everything that is wrong with config, the JSON of a routing config that an event will carry.
func (t *Table) Validate(config []byte) error {
	_, err := compile(string(config), t.settings)
	return err
}

// Live is a table that can be replaced while it is in use. It is safe for concurrent use.
type Live struct{ table atomic.Pointer[Table] }

// NewLive returns a Live with table t.
func NewLive(t *Table) *Live {
	l := &Live{}
	l.table.Store(t)
	return l
}

// Store replaces the table with t. An event that is resolved at the same time gets its plan from either.
func (l *Live) Store(t *Table) { l.table.Store(t) }

// Load returns the current table.
func (l *Live) Load() *Table { return l.table.Load() }

// Resolve calls [Table.Resolve] of the current table.
func (l *Live) Resolve(e *Event) (*Plan, error) { return l.table.Load().Resolve(e) }

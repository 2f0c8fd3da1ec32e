package forwarder

import (
	"errors"
	"fmt"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// AllTopics is the topic to subscribe to, with [NewSubscriber], for the events of every topic.
const AllTopics = "**"

// SubscriberConfig configures what is read, and how. The zero value works.
type SubscriberConfig struct {
	// Schema names the tables.
	Schema schema.Config

	// Group is the name of the group that shares the slots. All forwarders of a group must have the same filter; filters of different groups must not
	// overlap. Defaults to "default".
	Group string
	// Tenants and Topics filter the events that the group serves. Empty matches all.
	Tenants, Topics []string

	// BatchSize is the number of events read at once. Defaults to 1000.
	BatchSize int
	// MaxConcurrent limits the events in flight; at most one per ordering key is. Defaults to 1000.
	MaxConcurrent int
	// SettleBatch is the number of outcomes per settling transaction. Defaults to 1000.
	SettleBatch int
	// SettleDelay is the time that an outcome waits for others before it is written. Defaults to 2 ms.
	SettleDelay time.Duration

	// SleepBusy is the wait after a read that found events and left none. Defaults to 2 ms.
	SleepBusy time.Duration
	// SleepIdle is the wait after a read that found no events; it grows to SleepIdleMax. Defaults to 5 ms.
	SleepIdle time.Duration
	// SleepIdleMax is the longest wait between two reads. Defaults to 50 ms.
	SleepIdleMax time.Duration
	// Listen wakes the forwarder when a publisher with outbox.Config.Notify commits, so that SleepIdleMax can be long. It requires PostgreSQL, the
	// driver pgx and one more connection, and does not work through PgBouncer in transaction mode.
	Listen bool
	// SweepInterval is the interval of sweeps, which read all pending events again in case one was missed. Sweeps take at most 0.5 % of the time. Defaults
	// to 1 minute.
	SweepInterval time.Duration

	// Lease is the time after which others take over the slots of a forwarder that died. Defaults to 30 s.
	Lease time.Duration
	// PublishTimeout limits the publishing of one message; no publish starts later than this before the lease ends. Timeouts of the destinations must be
	// shorter. Defaults to 10 s, or a third of Lease if that is shorter; must be less than half of Lease.
	PublishTimeout time.Duration
	// QueryTimeout limits each database operation. Defaults to 15 s.
	QueryTimeout time.Duration
	// CloseTimeout limits how long Close waits for in-flight deliveries. Defaults to 20 s, or PublishTimeout if that is longer. For a [Forwarder] it must
	// not be less than PublishTimeout, or slots would be handed over during a publish.
	CloseTimeout time.Duration

	// Unordered delivers events as they become ready, ignoring ordering keys.
	Unordered bool
	// Hooks are called for metrics.
	Hooks Hooks

	// RetryPolicy applies to nacked messages of [NewSubscriber]. Defaults to the policy "default". A [Forwarder] ignores it: its targets have their own.
	RetryPolicy middleware.RetryPolicy
}

func (c SubscriberConfig) withDefaults() (SubscriberConfig, error) {
	var faults []error
	count := func(name string, v *int, standard, limit int) {
		if *v == 0 {
			*v = standard
		}
		if *v < 1 || *v > limit {
			faults = append(faults, fmt.Errorf("%s is %d, must be between 1 and %d", name, *v, limit))
		}
	}
	duration := func(name string, v *time.Duration, standard time.Duration) {
		if *v == 0 {
			*v = standard
		}
		if *v < 0 {
			faults = append(faults, fmt.Errorf("%s is %s, must not be negative", name, *v))
		}
	}
	if c.Group == "" {
		c.Group = "default"
	}
	count("BatchSize", &c.BatchSize, 1000, 100_000)
	count("MaxConcurrent", &c.MaxConcurrent, 1000, 100_000)
	count("SettleBatch", &c.SettleBatch, 1000, 100_000)
	duration("SettleDelay", &c.SettleDelay, 2*time.Millisecond)
	duration("SleepBusy", &c.SleepBusy, 2*time.Millisecond)
	duration("SleepIdle", &c.SleepIdle, 5*time.Millisecond)
	duration("SleepIdleMax", &c.SleepIdleMax, 50*time.Millisecond)
	duration("SweepInterval", &c.SweepInterval, time.Minute)
	duration("Lease", &c.Lease, 30*time.Second)
	duration("PublishTimeout", &c.PublishTimeout, min(10*time.Second, c.Lease/3))
	duration("QueryTimeout", &c.QueryTimeout, 15*time.Second)
	duration("CloseTimeout", &c.CloseTimeout, max(20*time.Second, c.PublishTimeout))
	c.SleepIdleMax = max(c.SleepIdleMax, c.SleepIdle)
	c.Hooks = c.Hooks.withDefaults()
	if c.PublishTimeout >= c.Lease/2 {
		faults = append(faults, fmt.Errorf("PublishTimeout is %s, must be less than half of Lease %s", c.PublishTimeout, c.Lease))
	}
	if c.RetryPolicy == (middleware.RetryPolicy{}) {
		c.RetryPolicy = middleware.Policies()["default"]
	}
	if err := c.RetryPolicy.Validate(); err != nil {
		faults = append(faults, fmt.Errorf("RetryPolicy: %w", err))
	}
	return c, errors.Join(faults...)
}

func (c SubscriberConfig) filter() store.Filter {
	return store.Filter{Tenants: c.Tenants, Topics: c.Topics}
}

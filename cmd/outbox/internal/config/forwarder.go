package config

import (
	"cmp"
	"time"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/router"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// Names returns how the tables are called.
func (c Config) Names() schema.Names { return schema.Names{Prefix: c.TablePrefix, Schema: c.Schema} }

// Forwarder returns the forwarder's configuration, but for its routes. Its dialect is that of the database it gets.
func (c Config) Forwarder() forwarder.Config {
	return forwarder.Config{
		Subscriber: forwarder.SubscriberConfig{
			Schema: schema.Config{Names: c.Names()},
			Group:  c.Group, Tenants: c.Tenants, Topics: c.Topics,
			BatchSize: c.BatchSize, MaxConcurrent: c.MaxConcurrent, SettleBatch: c.SettleBatch, SettleDelay: c.SettleDelay,
			SleepBusy: c.SleepBusy, SleepIdle: c.SleepIdle, SleepIdleMax: c.SleepIdleMax, Listen: c.Listen, SweepInterval: c.SweepInterval,
			Lease: c.Lease, PublishTimeout: c.publishTimeout(), QueryTimeout: c.QueryTimeout, CloseTimeout: c.CloseTimeout,
			Unordered: c.Unordered, RetryPolicy: c.defaultPolicy(),
		},
		DefaultPublisher:  c.DefaultDestination,
		PoisonDestination: c.PoisonDestination,
		BreakerFailures:   c.BreakerFailures,
		BreakerProbe:      c.BreakerProbe,
	}
}

func (c Config) publishTimeout() time.Duration {
	return cmp.Or(c.PublishTimeout, min(10*time.Second, c.Lease/3))
}

// Router returns the configuration of routing without routes: retry policies, and the names that may stand in front of :// in a destination. The
// error has every fault of the policies.
func (c Config) Router(publishers []string) (router.Config, error) {
	policies, faults := c.policies(nil)
	return router.Config{Policies: policies, Publishers: publishers, AllowExprPerEvent: c.AllowWhenPerEvent}, faults.err()
}

// Publisher returns the configuration of an application's own publishers.
func (c Config) Publisher(dialect schema.Dialect) forwarder.PublisherConfig {
	return forwarder.PublisherConfig{AdapterConfig: schema.AdapterConfig{
		Config: schema.Config{Dialect: dialect, Names: c.Names()}, DefaultTenantID: c.DefaultTenantID,
	}}
}

// nightly is when finished events are removed where only that they are is set.
const nightly = "02:00"

// Cleaner returns the configuration of the clean-up, and whether there is one.
func (c Config) Cleaner() (forwarder.CleanerConfig, bool) {
	if c.CleanupOn && c.CleanupEvery == 0 {
		c.CleanupAt = cmp.Or(c.CleanupAt, nightly)
	}
	cleaner := forwarder.CleanerConfig{
		Schema: schema.Config{Names: c.Names()}, Tenants: c.Tenants,
		Retention: c.Retention, SkippedRetention: c.SkippedRetention, DeadRetention: cmp.Or(c.DeadRetention, forwarder.Forever),
		BatchSize: c.CleanupBatch, At: c.CleanupAt, Every: c.CleanupEvery,
	}
	return cleaner, c.CleanupAt != "" || c.CleanupEvery > 0
}

func (c Config) defaultPolicy() middleware.RetryPolicy {
	p := middleware.Policies()["default"]
	p.MaxAttempts, p.InitialInterval = c.MaxAttempts, c.ErrorRetryDelay
	return p
}

// StandardPublisher is the destination of what names none, empty when there is none: that of the forwarder's Config, or of what it defaults to.
func (c Config) StandardPublisher() string {
	if c.DefaultDestination == "" && len(c.ByName) == 1 {
		for name := range c.ByName {
			return name
		}
	}
	return cmp.Or(c.DefaultDestination, "default")
}

package config

import (
	"cmp"

	"github.com/bento-outbox/watermill-outbox/admin"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/router"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// Names returns the names of the tables.
func (c Config) Names() schema.Names { return schema.Names{Prefix: c.TablePrefix, Schema: c.Schema} }

// Forwarder returns the configuration of a forwarder without routes.
func (c Config) Forwarder() forwarder.Config {
	return forwarder.Config{
		Subscriber: forwarder.SubscriberConfig{
			Schema: schema.Config{Names: c.Names()},
			Group:  c.Group, Tenants: c.Tenants, Topics: c.Topics,
			BatchSize: c.BatchSize, MaxConcurrent: c.MaxConcurrent, SettleBatch: c.SettleBatch, SettleDelay: c.SettleDelay,
			SleepBusy: c.SleepBusy, SleepIdle: c.SleepIdle, SleepIdleMax: c.SleepIdleMax, Listen: c.Listen, SweepInterval: c.SweepInterval,
			Lease: c.Lease, PublishTimeout: c.PublishTimeout, QueryTimeout: c.QueryTimeout, CloseTimeout: c.CloseTimeout,
			Unordered: c.Unordered, RetryPolicy: c.defaultPolicy(),
		},
		DefaultPublisher:  c.DefaultDestination,
		PoisonDestination: c.PoisonDestination,
		BreakerFailures:   c.BreakerFailures,
		BreakerProbe:      c.BreakerProbe,
	}
}

// Router returns the configuration of routing without routes. publishers are the names that destinations may begin with.
func (c Config) Router(publishers []string) router.Config {
	return router.Config{Policies: c.RetryPolicies, Publishers: publishers, AllowExprPerEvent: c.AllowWhenPerEvent}
}

// Cleaner returns the configuration of the clean-up, and whether it is on.
func (c Config) Cleaner() (cleaner admin.CleanerConfig, on bool) {
	return admin.CleanerConfig{
		Schema: schema.Config{Names: c.Names()}, Tenants: c.Tenants,
		Retention: c.Retention, SkippedRetention: c.SkippedRetention, DeadRetention: c.DeadRetention,
		BatchSize: c.CleanupBatch, At: c.CleanupAt, Every: max(c.CleanupEvery, 0),
	}, c.CleanupOn
}

// StandardPublisher returns the destination of events that name none: the one that is set, the only one there is, or the one named default.
func (c Config) StandardPublisher() string {
	if c.DefaultDestination == "" && len(c.ByName) == 1 {
		for name := range c.ByName {
			return name
		}
	}
	return cmp.Or(c.DefaultDestination, "default")
}

package config

import (
	"cmp"

	"github.com/bento-outbox/watermill-outbox/forwarder"
)

var profiles = map[string]func() forwarder.SubscriberConfig{
	"high_throughput": forwarder.HighThroughput,
	"low_latency":     forwarder.LowLatency,
}

// take copies the fields of s that are set.
func (c *Config) take(s forwarder.SubscriberConfig) {
	c.Group = cmp.Or(s.Group, c.Group)
	c.BatchSize = cmp.Or(s.BatchSize, c.BatchSize)
	c.MaxConcurrent = cmp.Or(s.MaxConcurrent, c.MaxConcurrent)
	c.SettleBatch = cmp.Or(s.SettleBatch, c.SettleBatch)
	c.SettleDelay = cmp.Or(s.SettleDelay, c.SettleDelay)
	c.SleepBusy = cmp.Or(s.SleepBusy, c.SleepBusy)
	c.SleepIdle = cmp.Or(s.SleepIdle, c.SleepIdle)
	c.SleepIdleMax = cmp.Or(s.SleepIdleMax, c.SleepIdleMax)
	c.SweepInterval = cmp.Or(s.SweepInterval, c.SweepInterval)
	c.Lease = cmp.Or(s.Lease, c.Lease)
	c.PublishTimeout = cmp.Or(s.PublishTimeout, c.PublishTimeout)
	c.QueryTimeout = cmp.Or(s.QueryTimeout, c.QueryTimeout)
	c.CloseTimeout = cmp.Or(s.CloseTimeout, c.CloseTimeout)
}

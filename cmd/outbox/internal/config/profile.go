package config

import (
	"time"

	"github.com/bento-outbox/watermill-outbox/forwarder"
)

var profiles = map[string]func() forwarder.SubscriberConfig{
	"high_throughput": forwarder.HighThroughput,
	"low_latency":     forwarder.LowLatency,
}

// take makes what s sets the settings of c.
func (c *Config) take(s forwarder.SubscriberConfig) {
	count := func(into *int, n int) {
		if n != 0 {
			*into = n
		}
	}
	wait := func(into *time.Duration, d time.Duration) {
		if d != 0 {
			*into = d
		}
	}
	if s.Group != "" {
		c.Group = s.Group
	}
	count(&c.BatchSize, s.BatchSize)
	count(&c.MaxConcurrent, s.MaxConcurrent)
	count(&c.SettleBatch, s.SettleBatch)
	wait(&c.SettleDelay, s.SettleDelay)
	wait(&c.SleepBusy, s.SleepBusy)
	wait(&c.SleepIdle, s.SleepIdle)
	wait(&c.SleepIdleMax, s.SleepIdleMax)
	wait(&c.SweepInterval, s.SweepInterval)
	wait(&c.Lease, s.Lease)
	wait(&c.PublishTimeout, s.PublishTimeout)
	wait(&c.QueryTimeout, s.QueryTimeout)
	wait(&c.CloseTimeout, s.CloseTimeout)
}

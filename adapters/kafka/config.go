package kafka

import (
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
)

// DefaultTimeout is the default of [Config].
const DefaultTimeout = 9 * time.Second

// Config of a [Publisher].
type Config struct {
	// Brokers are host:port of some brokers of the cluster. At least one is required.
	Brokers []string
	// Timeout bounds how long Publish waits for one message. Defaults to [DefaultTimeout].
	Timeout time.Duration
	// Marshaler defaults to [Marshaler].
	Marshaler kafka.Marshaler
	// Sarama is the driver's configuration. Defaults to [DefaultSaramaConfig] of Timeout. Change what that returns
	// instead of starting from sarama.NewConfig, which waits for the leader only and may lose or reorder messages.
	Sarama *sarama.Config
}

// DefaultSaramaConfig returns a configuration with which no acknowledged message is lost or overtaken: all in-sync
// replicas acknowledge, the producer is idempotent and has one request in flight. Its waits and retries add up to about
// timeout.
func DefaultSaramaConfig(timeout time.Duration) *sarama.Config {
	const tries = 3
	c := sarama.NewConfig()
	c.ClientID = "watermill-outbox"
	c.Net.MaxOpenRequests = 1
	c.Net.DialTimeout = timeout / tries
	c.Net.ReadTimeout = timeout / tries
	c.Net.WriteTimeout = timeout / tries
	c.Metadata.Full = false // only the topics that are published to
	c.Metadata.Timeout = timeout / 2
	c.Metadata.Retry.Max = 1
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Idempotent = true
	c.Producer.Timeout = c.Net.ReadTimeout * 5 / 6 // the broker gives up before the connection does
	c.Producer.Retry.Max = tries - 1
	c.Producer.Transaction.Retry.Max = 1 // asking for a producer id goes by it: by default 50 times
	return c
}

func (c *Config) validate() error {
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Marshaler == nil {
		c.Marshaler = Marshaler{}
	}
	if c.Sarama == nil {
		c.Sarama = DefaultSaramaConfig(c.Timeout)
	}
	own := *c.Sarama
	c.Sarama = &own
	c.Sarama.Producer.Return.Successes = true
	c.Sarama.Producer.Return.Errors = true

	var faults []error
	if len(c.Brokers) == 0 {
		faults = append(faults, errors.New("no Brokers"))
	}
	if c.Timeout < 0 {
		faults = append(faults, errors.New("Timeout is negative"))
	}
	if err := c.Sarama.Validate(); err != nil {
		faults = append(faults, fmt.Errorf("Sarama: %w", err))
	}
	return errors.Join(faults...)
}

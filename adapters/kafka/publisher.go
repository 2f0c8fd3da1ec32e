package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/adapters"
)

// Publisher produces messages to Kafka. It is safe for concurrent use; concurrent calls of Publish share requests.
type Publisher struct {
	config Config
	logger watermill.LoggerAdapter
	shared *connection
	single *connection // one message in each request

	calls adapters.Calls
}

// NewPublisher returns a publisher, which connects when the first message is published. A nil logger logs nothing. The
// error reports every fault of config.
func NewPublisher(config Config, logger watermill.LoggerAdapter) (*Publisher, error) {
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("kafka publisher: %w", err)
	}
	if logger == nil {
		logger = watermill.NopLogger{}
	}
	single := *config.Sarama
	single.Producer.Flush.Messages = 0
	single.Producer.Flush.MaxMessages = 1
	return &Publisher{
		config: config,
		logger: logger,
		shared: &connection{brokers: config.Brokers, config: config.Sarama},
		single: &connection{brokers: config.Brokers, config: &single},
	}, nil
}

// Publish produces msgs to topic, one after the other, each when the brokers have acknowledged the one before. It stops
// at the first error, which names the message. The message's own context and the Timeout bound the wait for each.
//
// An error does not say that nothing was written: what the driver was given may still arrive, within about the Timeout.
// It is permanent, see [adapters.IsPermanent], for a topic name that Kafka does not allow, a message that is too large
// and a reserved metadata key; docs/adapters.md has the whole table. It returns [adapters.ErrClosed] after Close.
func (p *Publisher) Publish(topic string, msgs ...*message.Message) error {
	if err := p.calls.Begin(); err != nil {
		return err
	}
	defer p.calls.End()

	for _, msg := range msgs {
		record, err := p.send(topic, msg)
		if err != nil {
			return fmt.Errorf("produce message %s to topic %s of kafka %s: %w", msg.UUID, topic,
				strings.Join(p.config.Brokers, ","), err)
		}
		p.logger.Trace("Message produced", watermill.LogFields{
			"topic": topic, "message_uuid": msg.UUID,
			"kafka_partition": record.Partition, "kafka_partition_offset": record.Offset,
		})
	}
	return nil
}

func (p *Publisher) send(topic string, msg *message.Message) (*sarama.ProducerMessage, error) {
	if err := msg.Context().Err(); err != nil {
		return nil, err
	}
	if err := checkTopic(topic); err != nil {
		return nil, adapters.Permanent(err)
	}
	failures := p.shared.failures.Load()
	record, err := p.config.Marshaler.Marshal(topic, msg)
	if err != nil {
		return nil, adapters.Permanent(err)
	}
	ctx, cancel := context.WithTimeout(msg.Context(), p.config.Timeout)
	defer cancel()
	err = p.shared.send(ctx, record)
	if isAny(err, ofBatch) {
		// The broker refuses whole batches, where this message may be a good one among others: ask for it alone.
		if record, err = p.config.Marshaler.Marshal(topic, msg); err == nil {
			err = p.single.send(ctx, record)
		}
		if isAny(err, ofBatch) {
			return nil, adapters.Permanent(err)
		}
	}
	if err == nil {
		return record, nil
	}
	err = blame(err)
	switch {
	case errors.Is(msg.Context().Err(), context.Canceled):
		return nil, msg.Context().Err()
	case adapters.Blame(err) != adapters.BlameSilence:
		return nil, err
	}
	// The deadline must not hide what is known: that the brokers take nothing, or nothing for this topic.
	if cause := p.shared.cause(topic, failures); cause != nil {
		return nil, fmt.Errorf("no acknowledgement in time, the last answer was: %w", blame(cause))
	}
	switch {
	case msg.Context().Err() != nil:
		return nil, msg.Context().Err()
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("no acknowledgement within %v: %w", p.config.Timeout, err)
	}
	return nil, err
}

// tooLarge recognises the driver's own refusal of a message above its MaxMessageBytes.
func tooLarge(err error) bool {
	var refusal sarama.ConfigurationError
	return errors.As(err, &refusal) && strings.Contains(string(refusal), "Producer.MaxMessageBytes")
}

// checkTopic refuses what brokers refuse, before the driver asks them for the metadata of such a topic again and again.
func checkTopic(topic string) error {
	switch {
	case topic == "":
		return errors.New("topic is empty")
	case topic == "." || topic == "..":
		return errors.New("topic must not be . or ..")
	case len(topic) > 249:
		return fmt.Errorf("topic has %d characters, more than 249", len(topic))
	}
	for _, r := range topic {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-' {
			return fmt.Errorf("topic has the character %q; letters, digits, '.', '_' and '-' are allowed", r)
		}
	}
	return nil
}

// Close waits for the calls of Publish that are under way and for what the driver still holds, up to about twice the
// Timeout when brokers do not answer. It may be called more than once.
func (p *Publisher) Close() error {
	return p.calls.Close(func() error {
		p.shared.close()
		p.single.close()
		return nil
	})
}

package kafka

import (
	"fmt"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"
)

// keyOrdering is the metadata key that the forwarder puts the ordering key in.
const keyOrdering = "outbox_key"

// Marshaler is Watermill's, and gives a record the ordering key of its message. It is [Config]'s default.
//
// A message without one gets no key, so that the producer spreads such messages over the partitions; the partitioning
// marshaler of watermill-kafka gives them the empty key, which puts them all into one.
type Marshaler struct{ kafka.DefaultMarshaler }

// Marshal returns the record for msg. It fails when the metadata has the key that Watermill keeps for the UUID.
func (m Marshaler) Marshal(topic string, msg *message.Message) (*sarama.ProducerMessage, error) {
	if _, reserved := msg.Metadata[kafka.UUIDHeaderKey]; reserved {
		return nil, fmt.Errorf("metadata key %s is reserved by Watermill", kafka.UUIDHeaderKey)
	}
	record, err := m.DefaultMarshaler.Marshal(topic, msg)
	if err != nil {
		return nil, err
	}
	if key := msg.Metadata[keyOrdering]; key != "" {
		record.Key = sarama.StringEncoder(key)
	}
	return record, nil
}

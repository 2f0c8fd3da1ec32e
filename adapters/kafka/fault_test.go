package kafka

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/assert"

	"github.com/bento-outbox/watermill-outbox/adapters"
)

// What a producer can be told, and whose fault it is.
func TestBlame(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]adapters.Verdict{
		sarama.ErrUnknownTopicOrPartition: adapters.BlameTopic, sarama.ErrTopicAuthorizationFailed: adapters.BlameTopic,
		sarama.ErrLeaderNotAvailable: adapters.BlameTopic, sarama.ErrNotLeaderForPartition: adapters.BlameTopic,
		sarama.ErrNotEnoughReplicas: adapters.BlameTopic, sarama.ErrNotEnoughReplicasAfterAppend: adapters.BlameTopic,
		sarama.ErrKafkaStorageError: adapters.BlameTopic, sarama.ErrOutOfOrderSequenceNumber: adapters.BlameTopic,
		sarama.ErrOutOfBrokers: adapters.BlamePublisher, sarama.ErrBrokerNotAvailable: adapters.BlamePublisher,
		sarama.ErrConsumerCoordinatorNotAvailable: adapters.BlamePublisher, sarama.ErrOffsetsLoadInProgress: adapters.BlamePublisher,
		sarama.ErrNotCoordinatorForConsumer: adapters.BlamePublisher, sarama.ErrClusterAuthorizationFailed: adapters.BlamePublisher,
		sarama.ErrSASLAuthenticationFailed: adapters.BlamePublisher, sarama.ErrUnsupportedSASLMechanism: adapters.BlamePublisher,
		sarama.ErrThrottlingQuotaExceeded: adapters.BlamePublisher, sarama.ErrUnsupportedVersion: adapters.BlamePublisher,
		sarama.ErrShuttingDown: adapters.BlamePublisher, sarama.ErrClosedClient: adapters.BlamePublisher,
		sarama.ErrRequestTimedOut: adapters.BlameSilence, context.DeadlineExceeded: adapters.BlameSilence,
		sarama.ErrInvalidTopic: adapters.BlameMessage, sarama.ErrInvalidMessage: adapters.BlameUnknown, sarama.ErrUnknown: adapters.BlameUnknown,
		errors.New("something new"): adapters.BlameUnknown,
	} {
		t.Run(err.Error(), func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, want, adapters.Blame(blame(err)))
			assert.Equal(t, want, adapters.Blame(blame(fmt.Errorf("produce: %w", err))))
		})
	}
	assert.Equal(t, adapters.BlamePublisher, adapters.Blame(blame(sarama.Wrap(sarama.ErrOutOfBrokers, errors.New("dial")))))
	assert.NoError(t, blame(nil))
}

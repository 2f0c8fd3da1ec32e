package kafka

import (
	"errors"

	"github.com/IBM/sarama"

	"github.com/bento-outbox/watermill-outbox/adapters"
)

// ofBatch are refusals of a whole batch because of one of its records.
var ofBatch = []sarama.KError{
	sarama.ErrMessageSizeTooLarge, sarama.ErrMessageSetSizeTooLarge, sarama.ErrInvalidRecord, sarama.ErrInvalidTimestamp,
	sarama.ErrUnsupportedForMessageFormat, sarama.ErrPolicyViolation,
}

// ofTopic are states of a topic, or of some of its partitions.
var ofTopic = []sarama.KError{
	sarama.ErrUnknownTopicOrPartition, // brokers do not create it by themselves
	sarama.ErrTopicAuthorizationFailed,
	sarama.ErrLeaderNotAvailable, sarama.ErrNotLeaderForPartition, sarama.ErrReplicaNotAvailable, sarama.ErrFencedLeaderEpoch,
	sarama.ErrUnknownLeaderEpoch, sarama.ErrPreferredLeaderNotAvailable, sarama.ErrEligibleLeadersNotAvailable,
	sarama.ErrNotEnoughReplicas, sarama.ErrNotEnoughReplicasAfterAppend,
	sarama.ErrKafkaStorageError, sarama.ErrLogDirNotFound, // the disk of a partition
	sarama.ErrOutOfOrderSequenceNumber, sarama.ErrUnknownProducerID, sarama.ErrInvalidProducerEpoch, // the idempotent producer begins anew
}

// ofCluster are states of the cluster, or of our account there.
var ofCluster = []error{
	sarama.ErrOutOfBrokers, sarama.ErrBrokerNotFound, sarama.ErrNotConnected, sarama.ErrClosedClient, sarama.ErrShuttingDown,
	sarama.ErrControllerNotAvailable, sarama.ErrUnknownScramMechanism, sarama.ErrIncompleteResponse, sarama.ErrInsufficientData,
	sarama.ErrBrokerNotAvailable, sarama.ErrNetworkException, sarama.ErrNotController, sarama.ErrStaleControllerEpochCode,
	sarama.ErrOffsetsLoadInProgress, sarama.ErrConsumerCoordinatorNotAvailable, sarama.ErrNotCoordinatorForConsumer, // of the producer's id
	sarama.ErrClusterAuthorizationFailed, sarama.ErrTransactionalIDAuthorizationFailed, sarama.ErrSASLAuthenticationFailed,
	sarama.ErrUnsupportedSASLMechanism, sarama.ErrIllegalSASLState, sarama.ErrSecurityDisabled, sarama.ErrDelegationTokenExpired,
	sarama.ErrThrottlingQuotaExceeded, sarama.ErrProducerFenced, sarama.ErrListenerNotFound,
	sarama.ErrUnsupportedVersion, sarama.ErrUnsupportedCompressionType, sarama.ErrInvalidRequiredAcks, // our configuration
}

func isAny[E error](err error, list []E) bool {
	for _, known := range list {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// blame marks err by whose fault it is. What it does not know stays as it is.
func blame(err error) error {
	switch {
	case errors.Is(err, sarama.ErrInvalidTopic), tooLarge(err):
		return adapters.Permanent(err)
	case errors.Is(err, sarama.ErrRequestTimedOut): // replicas did not confirm in time
		return silent{err}
	case isAny(err, ofTopic):
		return adapters.UnavailableTopic(err)
	case isAny(err, ofCluster):
		return adapters.Unavailable(err)
	}
	return err
}

// silent is an answer that says that there was none.
type silent struct{ error }

func (e silent) Unwrap() error { return e.error }
func (silent) Timeout() bool   { return true }

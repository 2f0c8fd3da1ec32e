package kafka_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/bento-outbox/watermill-outbox/adapters"
	"github.com/bento-outbox/watermill-outbox/adapters/kafka"
)

// Whatever the driver's own limits are: before there was a connection, nothing of the message was sent.
func TestDeadlineBeforeTheConnectionIsTheBrokers(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	pub, err := kafka.NewPublisher(kafka.Config{
		Brokers: []string{silent.Addr().String()}, Timeout: 100 * time.Millisecond, Sarama: kafka.DefaultSaramaConfig(3 * time.Second),
	}, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, pub.Close()) }()
	defer func() { require.NoError(t, silent.Close()) }()
	err = pub.Publish("t", message.NewMessage("1", nil))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Equal(t, adapters.BlamePublisher, adapters.Blame(err), "%v", err)
}

// marshaler tells of each message, just before the driver gets it.
type marshaler struct{ marshaled chan string }

func (m marshaler) Marshal(topic string, msg *message.Message) (*sarama.ProducerMessage, error) {
	m.marshaled <- msg.UUID
	return kafka.Marshaler{}.Marshal(topic, msg)
}

// A message waits for the answer to another, which tells the state of the cluster, and then gets none.
func TestDeadlineDoesNotHideTheCause(t *testing.T) {
	t.Parallel()
	b := start(t)
	m := marshaler{make(chan string, 10)}
	pub, err := kafka.NewPublisher(kafka.Config{Brokers: []string{b.addr}, Marshaler: m}, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, pub.Close()) }()
	publish := func(id string, patience time.Duration) <-chan error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		t.Cleanup(cancel)
		msg := message.NewMessage(id, nil)
		msg.SetContext(ctx)
		done := make(chan error, 1)
		go func() { done <- pub.Publish("t", msg) }()
		require.Equal(t, id, <-m.marshaled)
		return done
	}
	require.NoError(t, <-publish("before", time.Minute))

	entered, answers := make(chan struct{}), make(chan sarama.KError)
	b.cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		var code sarama.KError
		b.cluster.SleepControl(func() {
			entered <- struct{}{}
			code = <-answers
		})
		if code == sarama.ErrNoError {
			return nil, nil, false
		}
		req := r.(*kmsg.ProduceRequest)
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range req.Topics {
			answer := kmsg.NewProduceResponseTopic()
			answer.Topic, answer.TopicID = topic.Topic, topic.TopicID
			for _, partition := range topic.Partitions {
				part := kmsg.NewProduceResponseTopicPartition()
				part.Partition, part.ErrorCode = partition.Partition, int16(code)
				answer.Partitions = append(answer.Partitions, part)
			}
			resp.Topics = append(resp.Topics, answer)
		}
		return resp, nil, true
	})
	first := publish("first", time.Minute)
	<-entered
	second := publish("second", time.Second)
	answers <- sarama.ErrClusterAuthorizationFailed
	require.Equal(t, adapters.BlamePublisher, adapters.Blame(<-first))
	<-entered // the request of the second hangs
	err = <-second
	assert.Equal(t, adapters.BlamePublisher, adapters.Blame(err), "%v", err)
	require.ErrorIs(t, err, sarama.ErrClusterAuthorizationFailed)

	answers <- sarama.ErrNoError
	third := publish("third", time.Minute)
	<-entered
	answers <- sarama.ErrNoError
	require.NoError(t, <-third)
	fourth := publish("fourth", 100*time.Millisecond)
	<-entered
	err = <-fourth
	assert.Equal(t, adapters.BlameSilence, adapters.Blame(err), "the failure is over: %v", err)
	answers <- sarama.ErrNoError
}

package middleware_test

import (
	"fmt"
	"testing"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	wmkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/bento-outbox/watermill-outbox/adapters/kafka"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

// newKafka returns the addresses of a Kafka that has the topics.
func newKafka(t *testing.T) []string {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "in", "out", "poison"))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	return cluster.ListenAddrs()
}

// openKafka returns a publisher and a subscriber of group, or of no group for "", that are closed when the test ends.
func openKafka(t *testing.T, addresses []string, group string) pubSub {
	t.Helper()
	pub, err := kafka.NewPublisher(kafka.Config{Brokers: addresses}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pub.Close()) })
	config := wmkafka.DefaultSaramaSubscriberConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	sub, err := wmkafka.NewSubscriber(wmkafka.SubscriberConfig{
		Brokers: addresses, ConsumerGroup: group, OverwriteSaramaConfig: config,
	}, watermill.NopLogger{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sub.Close()) })
	return pubSub{pub: pub, sub: sub}
}

func TestKafka(t *testing.T) {
	t.Parallel()
	for _, reversed := range []bool{false, true} {
		t.Run(fmt.Sprintf("reversed %v", reversed), func(t *testing.T) {
			t.Parallel()
			testChain(t, openKafka(t, newKafka(t), ""), reversed)
		})
	}
}

func TestKafkaCancellationIsNoFailure(t *testing.T) {
	t.Parallel()
	for _, reversed := range []bool{false, true} {
		t.Run(fmt.Sprintf("reversed %v", reversed), func(t *testing.T) {
			t.Parallel()
			addresses := newKafka(t)
			testCancellation(t, func(t *testing.T) pubSub { return openKafka(t, addresses, "group") }, reversed, func(int) {})
		})
	}
}

// TestKafkaFanOut hands the same messages to a handler that changes them and to one that looks at them.
func TestKafkaFanOut(t *testing.T) {
	t.Parallel()
	ps := openKafka(t, newKafka(t), "")
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	require.NoError(t, err)
	poison, err := middleware.PoisonQueue(ps.pub, "poison")
	require.NoError(t, err)
	transform, err := middleware.Transform(middleware.TransformConfig{IncludeFields: []string{"a"}})
	require.NoError(t, err)
	seen := make(chan *message.Message, 10)
	router.AddConsumerHandler("changes", "in", ps.sub, func(msg *message.Message) error {
		msg.Metadata.Set("own", "changed")
		return fmt.Errorf("failed with %s", msg.Payload)
	}).AddMiddleware(poison, transform)
	router.AddConsumerHandler("looks", "in", ps.sub, func(msg *message.Message) error {
		seen <- msg.Copy()
		return nil
	})
	poisoned, err := ps.sub.Subscribe(t.Context(), "poison")
	require.NoError(t, err)
	stopped := run(t, router)
	original := message.NewMessage("1", []byte(`{"a":1,"b":2}`))
	original.Metadata.Set("own", "original")
	require.NoError(t, ps.pub.Publish("in", original))

	p := receive(t, poisoned, 1)["1"]
	require.Equal(t, []string{`failed with {"a":1}`, "changes", `{"a":1,"b":2}`},
		[]string{p.Metadata["reason_poisoned"], p.Metadata["handler_poisoned"], string(p.Payload)})
	m := <-seen
	require.Equal(t, message.Metadata{"own": "original"}, m.Metadata)
	require.Equal(t, `{"a":1,"b":2}`, string(m.Payload))
	require.Equal(t, message.Metadata{"own": "original"}, original.Metadata)
	require.NoError(t, router.Close())
	require.NoError(t, <-stopped)
}

package main

import (
	"context"
	"strings"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	wmkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/bento-outbox/watermill-outbox/adapters"
	_ "github.com/bento-outbox/watermill-outbox/adapters/kafka" // kafka://
)

// kafkaTopics are the topics by the destinations that routes call them by. Kafka is the default publisher, so a topic alone will do.
var kafkaTopics = []struct{ destination, topic string }{
	{"kafka://orders", "orders"},
	{"kafka://search.index", "search.index"},
	{"kafka://other.products", "other.products"},
	{"analytics.events", "analytics.events"},
	{"audit", "audit"},
	{poison, poison},
}

// poison is the destination that dead events are copied to.
const poison = "poison"

func (b *brokers) startKafka(ctx context.Context, logger watermill.LoggerAdapter) error {
	var topics []string
	for _, t := range kafkaTopics {
		topics = append(topics, t.topic)
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, topics...))
	if err != nil {
		return err
	}
	b.atStop(func() error { cluster.Close(); return nil })
	publisher, err := adapters.Open(ctx, "kafka://"+strings.Join(cluster.ListenAddrs(), ","), logger)
	if err != nil {
		return err
	}
	b.publishers["kafka"] = publisher
	b.atStop(publisher.Close)

	config := wmkafka.DefaultSaramaSubscriberConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	subscriber, err := wmkafka.NewSubscriber(
		wmkafka.SubscriberConfig{Brokers: cluster.ListenAddrs(), OverwriteSaramaConfig: config}, logger)
	if err != nil {
		return err
	}
	b.atStop(subscriber.Close)
	length := func(_ context.Context, topic string) (n int64, err error) {
		offsets, err := subscriber.PartitionOffset(topic)
		for _, offset := range offsets {
			n += offset
		}
		return n, err
	}
	for _, t := range kafkaTopics {
		d := &destination{name: t.destination, broker: "kafka", topic: t.topic, length: length}
		if err := d.consume(ctx, subscriber); err != nil {
			return err
		}
		b.destinations = append(b.destinations, d)
	}
	return nil
}

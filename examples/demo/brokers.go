package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	wmkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/bento-outbox/watermill-outbox/adapters"
	_ "github.com/bento-outbox/watermill-outbox/adapters/kafka" // kafka://
	_ "github.com/bento-outbox/watermill-outbox/adapters/redis" // redis://
)

// brokers are Kafka and Redis, with the publishers that the forwarder uses and a consumer for each destination.
type brokers struct {
	kafka, redis                 message.Publisher
	orders, notifications, audit *destination

	cleanUp []func() error // in reverse
}

func startBrokers(ctx context.Context, redisURL string, logger watermill.LoggerAdapter) (_ *brokers, err error) {
	b := &brokers{}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.stop())
		}
	}()
	if err := b.startKafka(ctx, logger); err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	if err := b.startRedis(ctx, redisURL, logger); err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	return b, nil
}

func (b *brokers) startKafka(ctx context.Context, logger watermill.LoggerAdapter) error {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, "orders", "audit"))
	if err != nil {
		return err
	}
	b.atStop(func() error { cluster.Close(); return nil })
	if b.kafka, err = adapters.Open(ctx, "kafka://"+strings.Join(cluster.ListenAddrs(), ","), logger); err != nil {
		return err
	}
	b.atStop(b.kafka.Close)

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
	b.orders = &destination{name: "kafka://orders", routingKey: "kafka://orders", topic: "orders", length: length}
	b.audit = &destination{name: "audit", topic: "audit", length: length}
	return errors.Join(b.orders.consume(ctx, subscriber), b.audit.consume(ctx, subscriber))
}

func (b *brokers) startRedis(ctx context.Context, url string, logger watermill.LoggerAdapter) error {
	stream := "notifications"
	if url == "" {
		server, err := miniredis.Run()
		if err != nil {
			return err
		}
		b.atStop(func() error { server.Close(); return nil })
		url = "redis://" + server.Addr()
	} else {
		stream = "demo-" + watermill.NewShortUUID() // somebody else's notifications may be there
	}
	publisher, err := adapters.Open(ctx, url, logger)
	if err != nil {
		return err
	}
	b.redis = publisher
	b.atStop(publisher.Close)

	options, err := redis.ParseURL(url)
	if err != nil {
		return errors.New("the URL cannot be used")
	}
	client := redis.NewClient(options)
	if err := client.Ping(ctx).Err(); err != nil {
		return errors.Join(err, client.Close())
	}
	b.atStop(func() error {
		return errors.Join(client.Del(context.WithoutCancel(ctx), stream).Err(), client.Close())
	})
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client:        redis.NewClient(options), // a client of its own, for Close closes it
		ConsumerGroup: "demo", DisableIndefiniteInitialBlock: true,
	}, logger)
	if err != nil {
		return err
	}
	b.atStop(subscriber.Close)
	b.notifications = &destination{
		name: "redis://notifications", routingKey: "redis://" + stream, topic: stream,
		length: func(ctx context.Context, topic string) (int64, error) { return client.XLen(ctx, topic).Result() },
	}
	return b.notifications.consume(ctx, subscriber)
}

func (b *brokers) destinations() []*destination {
	return []*destination{b.orders, b.notifications, b.audit}
}

// waitUntilConsumed returns when the consumers have received everything that the brokers hold.
func (b *brokers) waitUntilConsumed(ctx context.Context) error {
	for _, d := range b.destinations() {
		if err := d.waitUntilConsumed(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *brokers) atStop(f func() error) { b.cleanUp = append(b.cleanUp, f) }

func (b *brokers) stop() error {
	var errs []error
	for i := len(b.cleanUp) - 1; i >= 0; i-- {
		errs = append(errs, b.cleanUp[i]())
	}
	return errors.Join(errs...)
}

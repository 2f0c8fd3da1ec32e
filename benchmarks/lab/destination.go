package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/bento-outbox/watermill-outbox/adapters"
	_ "github.com/bento-outbox/watermill-outbox/adapters/kafka" // scheme kafka
	_ "github.com/bento-outbox/watermill-outbox/adapters/redis" // scheme redis
	"github.com/bento-outbox/watermill-outbox/benchmarks/internal/backlog"
)

// destinations open what a system delivers to; a nil publisher is nothing.
var destinations = map[string]func(ctx context.Context, s Settings, system string) (message.Publisher, error){
	"nothing": func(context.Context, Settings, string) (message.Publisher, error) { return nil, nil },
	"1ms": func(context.Context, Settings, string) (message.Publisher, error) {
		return slow(time.Millisecond), nil
	},
	"redis": func(ctx context.Context, s Settings, system string) (message.Publisher, error) {
		if system == "stock" {
			return stockRedis(s)
		}
		return adapters.Open(ctx, s.RedisURL, errorLog{})
	},
	"redis-stock-publisher": func(_ context.Context, s Settings, _ string) (message.Publisher, error) { return stockRedis(s) },
	"kafka": func(ctx context.Context, s Settings, system string) (message.Publisher, error) {
		if system == "stock" {
			return stockKafka(s)
		}
		return adapters.Open(ctx, s.KafkaURL, errorLog{})
	},
}

// Destinations returns the names of what can be delivered to.
func Destinations() []string { return slices.Sorted(maps.Keys(destinations)) }

func stockRedis(s Settings) (message.Publisher, error) {
	options, err := redisOptions(s)
	if err != nil {
		return nil, err
	}
	return redisstream.NewPublisher(redisstream.PublisherConfig{Client: redis.NewClient(options)}, watermill.NopLogger{})
}

func redisOptions(s Settings) (*redis.Options, error) {
	options, err := redis.ParseURL(s.RedisURL)
	if err != nil {
		return nil, errors.New("the URL of Redis is none") // which may hold a password
	}
	return options, nil
}

func stockKafka(s Settings) (message.Publisher, error) {
	brokers, err := kafkaBrokers(s)
	if err != nil {
		return nil, err
	}
	return kafka.NewPublisher(kafka.PublisherConfig{Brokers: brokers, Marshaler: kafka.DefaultMarshaler{}}, watermill.NopLogger{})
}

func kafkaBrokers(s Settings) ([]string, error) {
	u, err := url.Parse(s.KafkaURL)
	if err != nil {
		return nil, errors.New("the URL of Kafka is none") // which may hold a password
	}
	return strings.Split(u.Host, ","), nil
}

// empty deletes what was delivered to a destination.
func empty(ctx context.Context, s Settings, destination string) error {
	switch name, _, _ := strings.Cut(destination, "-"); name {
	case "redis":
		options, err := redisOptions(s)
		if err != nil {
			return err
		}
		client := redis.NewClient(options)
		return errors.Join(client.Del(ctx, backlog.Topic).Err(), client.Close())
	case "kafka":
		brokers, err := kafkaBrokers(s)
		if err != nil {
			return err
		}
		admin, err := sarama.NewClusterAdmin(brokers, sarama.NewConfig())
		if err != nil {
			return err
		}
		if err := admin.DeleteTopic(backlog.Topic); err != nil && !errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
			return errors.Join(err, admin.Close())
		}
		// The name is free again a moment after the answer.
		create := func() error {
			return admin.CreateTopic(backlog.Topic, &sarama.TopicDetail{NumPartitions: 4, ReplicationFactor: 1}, false)
		}
		err = create()
		for t := time.Now(); errors.Is(err, sarama.ErrTopicAlreadyExists) && time.Since(t) < 10*time.Second && ctx.Err() == nil; {
			pause(ctx, 50*time.Millisecond)
			err = create()
		}
		return errors.Join(err, admin.Close())
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// slow is a publisher that takes a while for every message.
type slow time.Duration

func (s slow) Publish(_ string, messages ...*message.Message) error {
	for _, msg := range messages {
		pause(msg.Context(), time.Duration(s))
		if err := msg.Context().Err(); err != nil {
			return err
		}
	}
	return nil
}

func (slow) Close() error { return nil }

// errorLog prints errors and nothing else.
type errorLog struct{}

func (errorLog) Error(msg string, err error, _ watermill.LogFields) {
	fmt.Fprintf(os.Stderr, "ours: %s: %v\n", msg, err)
}
func (errorLog) Info(string, watermill.LogFields)                   {}
func (errorLog) Debug(string, watermill.LogFields)                  {}
func (errorLog) Trace(string, watermill.LogFields)                  {}
func (l errorLog) With(watermill.LogFields) watermill.LoggerAdapter { return l }

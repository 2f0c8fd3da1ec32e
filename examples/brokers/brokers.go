package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	webhook "github.com/bento-outbox/watermill-outbox/adapters/http"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	wmkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kfake"
)

const topic = "orders.placed"

// broker is one that runs in this process.
type broker struct {
	name, url string
	receive   func(context.Context) (*message.Message, error)
	stop      func()
}

// startConsole reads back what is printed, to show it like the others.
func startConsole() (*broker, error) {
	in, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	stdout := os.Stdout
	os.Stdout = out
	lines := bufio.NewReader(in)
	return &broker{
		name: "console", url: "console://stdout",
		receive: func(context.Context) (*message.Message, error) {
			os.Stdout = stdout
			line, err := lines.ReadString('\n')
			if err != nil {
				return nil, err
			}
			var printed struct {
				UUID    string
				Payload json.RawMessage
			}
			err = json.Unmarshal([]byte(line), &printed)
			return message.NewMessage(printed.UUID, message.Payload(printed.Payload)), err
		},
		stop: func() {
			os.Stdout = stdout
			_ = in.Close()
			_ = out.Close()
		},
	}, nil
}

func startRedis() (*broker, error) {
	server, err := miniredis.Run()
	if err != nil {
		return nil, err
	}
	subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client: redis.NewClient(&redis.Options{Addr: server.Addr()}), ConsumerGroup: "shop", DisableIndefiniteInitialBlock: true,
	}, watermill.NopLogger{})
	if err != nil {
		server.Close()
		return nil, err
	}
	return &broker{
		name: "redis", url: "redis://" + server.Addr(), receive: receiver(subscriber),
		stop: func() { _ = subscriber.Close(); server.Close() },
	}, nil
}

func startKafka() (*broker, error) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topic))
	if err != nil {
		return nil, err
	}
	config := wmkafka.DefaultSaramaSubscriberConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	subscriber, err := wmkafka.NewSubscriber(
		wmkafka.SubscriberConfig{Brokers: cluster.ListenAddrs(), OverwriteSaramaConfig: config}, watermill.NopLogger{})
	if err != nil {
		cluster.Close()
		return nil, err
	}
	return &broker{
		name: "kafka", url: "kafka://" + strings.Join(cluster.ListenAddrs(), ","), receive: receiver(subscriber),
		stop: func() { _ = subscriber.Close(); cluster.Close() },
	}, nil
}

func startWebhook() (*broker, error) {
	posted := make(chan *message.Message, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		msg, err := webhook.UnmarshalMessage(topic, r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		posted <- msg
	}))
	return &broker{
		name: "webhook", url: server.URL + "/hooks",
		receive: func(ctx context.Context) (*message.Message, error) { return next(ctx, posted) },
		stop:    server.Close,
	}, nil
}

// receiver reads a topic with Watermill's own subscriber.
func receiver(subscriber message.Subscriber) func(context.Context) (*message.Message, error) {
	var messages <-chan *message.Message
	return func(ctx context.Context) (*message.Message, error) {
		if messages == nil {
			var err error
			if messages, err = subscriber.Subscribe(context.WithoutCancel(ctx), topic); err != nil {
				return nil, err
			}
		}
		msg, err := next(ctx, messages)
		if err == nil {
			msg.Ack()
		}
		return msg, err
	}
}

func next(ctx context.Context, messages <-chan *message.Message) (*message.Message, error) {
	select {
	case msg := <-messages:
		return msg, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

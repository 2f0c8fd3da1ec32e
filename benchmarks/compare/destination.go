package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/bento-outbox/watermill-outbox/adapters"
	_ "github.com/bento-outbox/watermill-outbox/adapters/redis" // scheme redis
	"github.com/bento-outbox/watermill-outbox/benchmarks/internal/backlog"
)

// destinations open what a system delivers to; a nil publisher is nothing.
var destinations = map[string]func(ctx context.Context, s settings, system string) (message.Publisher, error){
	"nothing": func(context.Context, settings, string) (message.Publisher, error) { return nil, nil },
	"1ms": func(context.Context, settings, string) (message.Publisher, error) {
		return slow(time.Millisecond), nil
	},
	"redis": func(ctx context.Context, s settings, system string) (message.Publisher, error) {
		if system == "ours" {
			return adapters.Open(ctx, s.redisURL, errorLog{})
		}
		return stockRedis(s)
	},
	"redis-stock-publisher": func(_ context.Context, s settings, _ string) (message.Publisher, error) { return stockRedis(s) },
}

func destinationNames() []string { return slices.Sorted(maps.Keys(destinations)) }

func stockRedis(s settings) (message.Publisher, error) {
	options, err := redis.ParseURL(s.redisURL)
	if err != nil {
		return nil, err
	}
	return redisstream.NewPublisher(redisstream.PublisherConfig{Client: redis.NewClient(options)}, watermill.NopLogger{})
}

// emptyRedis deletes the stream.
func emptyRedis(ctx context.Context, s settings) error {
	options, err := redis.ParseURL(s.redisURL)
	if err != nil {
		return err
	}
	client := redis.NewClient(options)
	defer client.Close()
	return client.Del(ctx, backlog.Topic).Err()
}

// slow is a publisher that takes a while for every message.
type slow time.Duration

func (s slow) Publish(_ string, messages ...*message.Message) error {
	for _, msg := range messages {
		t := time.NewTimer(time.Duration(s))
		select {
		case <-t.C:
		case <-msg.Context().Done():
			t.Stop()
			return msg.Context().Err()
		}
	}
	return nil
}

func (slow) Close() error { return nil }

// errorLog prints errors and nothing else.
type errorLog struct{}

func (errorLog) Error(msg string, err error, _ watermill.LogFields) {
	fmt.Fprintf(os.Stderr, "compare: ours: %s: %v\n", msg, err)
}
func (errorLog) Info(string, watermill.LogFields)                   {}
func (errorLog) Debug(string, watermill.LogFields)                  {}
func (errorLog) Trace(string, watermill.LogFields)                  {}
func (l errorLog) With(watermill.LogFields) watermill.LoggerAdapter { return l }

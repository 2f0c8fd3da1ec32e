package redis_test

import (
	"context"
	"os"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bento-outbox/watermill-outbox/adapters"
	"github.com/bento-outbox/watermill-outbox/adapters/adapterstest"
	"github.com/bento-outbox/watermill-outbox/adapters/redis"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformanceMiniredis(t *testing.T) {
	conformance(t, miniredis.RunT(t).Addr())
}

func TestConformanceRealRedis(t *testing.T) {
	url := os.Getenv("OUTBOX_TEST_REDIS_URL")
	if url == "" {
		t.Skip("OUTBOX_TEST_REDIS_URL is not set")
	}
	options, err := goredis.ParseURL(url)
	require.NoError(t, err)
	conformance(t, options.Addr)
}

func conformance(t *testing.T, addr string) {
	relay := adapterstest.NewRelay(t, addr)
	reader := goredis.NewClient(&goredis.Options{Addr: addr})
	t.Cleanup(func() { require.NoError(t, reader.Close()) })

	adapterstest.Run(t, adapterstest.Harness{
		Open: func(t *testing.T) message.Publisher {
			pub, err := adapters.Open(t.Context(), "redis://"+relay.Addr, watermill.NopLogger{})
			require.NoError(t, err)
			return pub
		},
		Received: func(t *testing.T, topic string) []adapterstest.Record { return read(t, reader, topic) },
		Shared: func(t *testing.T) (message.Publisher, func() error) {
			pub, err := redis.NewPublisher(reader, redis.Config{}, nil)
			require.NoError(t, err)
			return pub, func() error { return reader.Ping(t.Context()).Err() }
		},
		Down: relay.Down, Up: relay.Up, Hang: relay.Hang,
	})
}

// read decodes a stream as Watermill's own subscriber does.
func read(t *testing.T, client goredis.UniversalClient, topic string) []adapterstest.Record {
	t.Helper()
	entries, err := client.XRange(context.Background(), topic, "-", "+").Result()
	require.NoError(t, err)
	records := make([]adapterstest.Record, len(entries))
	for i, entry := range entries {
		msg, err := redisstream.DefaultMarshallerUnmarshaller{}.Unmarshal(entry.Values)
		require.NoError(t, err)
		records[i] = adapterstest.Record{UUID: msg.UUID, Payload: msg.Payload, Metadata: msg.Metadata}
	}
	return records
}

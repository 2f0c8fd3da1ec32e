package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	wmkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/adapters"
	"github.com/bento-outbox/watermill-outbox/adapters/kafka"
	"github.com/bento-outbox/watermill-outbox/internal/await"
)

func TestOpenFaults(t *testing.T) {
	cases := map[string]struct {
		url  string
		want []string
	}{
		"all at once": {
			"kafka://h:1/secret?compresion=zstd&version=x&timeout=0&max_message_bytes=big&tls_ca=/nonexistent",
			[]string{"a path is not used", "did you mean compression?", "option version", "option timeout", "max_message_bytes", "tls_ca"},
		},
		"no broker":              {"kafka://", []string{"no broker"}},
		"codec":                  {"kafka://h?compression=rar", []string{`"rar" is none of none, gzip, snappy, lz4, zstd`}},
		"tls files without tls":  {"kafka://h?tls=false&tls_cert=a&tls_key=b", []string{"tls is false"}},
		"mechanism without user": {"kafka://h?sasl_mechanism=plain", []string{"the URL has no user"}},
		"user without password":  {"kafka://secret@h", []string{"one without the other"}},
		"impossible size":        {"kafka://h?max_message_bytes=0", []string{"MaxMessageBytes"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := adapters.Open(t.Context(), c.url, nil)
			require.Error(t, err)
			for _, want := range c.want {
				assert.ErrorContains(t, err, want)
			}
			assert.NotContains(t, err.Error(), "secret")
		})
	}
}

func TestConfigFaults(t *testing.T) {
	weak := kafka.DefaultSaramaConfig(time.Second)
	weak.Producer.RequiredAcks = sarama.WaitForLocal
	_, err := kafka.NewPublisher(kafka.Config{Timeout: -1, Sarama: weak}, nil)
	for _, want := range []string{"no Brokers", "Timeout is negative", "Idempotent producer requires"} {
		require.ErrorContains(t, err, want)
	}
}

func TestDefaultsLoseNothing(t *testing.T) {
	c := kafka.DefaultSaramaConfig(kafka.DefaultTimeout)
	require.NoError(t, c.Validate())
	assert.Equal(t, sarama.WaitForAll, c.Producer.RequiredAcks)
	assert.True(t, c.Producer.Idempotent)
	assert.Equal(t, 1, c.Net.MaxOpenRequests)
	tries := time.Duration(c.Producer.Retry.Max + 1)
	assert.LessOrEqual(t, tries*(c.Net.ReadTimeout+c.Producer.Retry.Backoff), 10*time.Second)
}

// The adapter may not import schema, so the name of the key is written twice.
func TestMarshalerTakesTheOrderingKey(t *testing.T) {
	msg := message.NewMessage("1", nil)
	msg.Metadata.Set(outbox.KeyOrdering, "order-1")
	record, err := kafka.Marshaler{}.Marshal("t", msg)
	require.NoError(t, err)
	key, err := record.Key.Encode()
	require.NoError(t, err)
	assert.Equal(t, "order-1", string(key))

	record, err = kafka.Marshaler{}.Marshal("t", message.NewMessage("1", nil))
	require.NoError(t, err)
	assert.Nil(t, record.Key)
}

func TestKeylessMessagesSpread(t *testing.T) {
	b := start(t)
	pub := b.open(t, "")
	for i := range 40 {
		require.NoError(t, pub.Publish("spread", message.NewMessage(fmt.Sprint(i), nil)))
	}
	client, err := sarama.NewClient([]string{b.addr}, sarama.NewConfig())
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Close()) }()
	for partition := range int32(4) {
		end, err := client.GetOffset("spread", partition, sarama.OffsetNewest)
		require.NoError(t, err)
		assert.NotZero(t, end, "partition %d", partition)
	}
}

func (b *broker) open(t *testing.T, query string) message.Publisher {
	t.Helper()
	pub := b.unclosed(t, query)
	t.Cleanup(func() { assert.NoError(t, pub.Close()) })
	return pub
}

func (b *broker) unclosed(t *testing.T, query string) message.Publisher {
	t.Helper()
	pub, err := adapters.Open(t.Context(), "kafka://"+b.addr+query, watermill.NopLogger{})
	require.NoError(t, err)
	return pub
}

func TestPermanentErrors(t *testing.T) {
	b := start(t)
	pub := b.open(t, "?max_message_bytes=1000")
	reserved := message.NewMessage("1", nil)
	reserved.Metadata.Set(wmkafka.UUIDHeaderKey, "")
	ok := message.NewMessage("1", nil)
	cases := map[string]struct {
		topic string
		msg   *message.Message
	}{
		"reserved metadata key": {"t", reserved},
		"too large":             {"t", message.NewMessage("1", make([]byte, 1001))},
		"empty topic":           {"", ok},
		"dots":                  {"..", ok},
		"long topic":            {strings.Repeat("x", 250), ok},
		"space in topic":        {"a b", ok},
		"slash in topic":        {"a/b", ok},
		"letter in topic":       {"ü", ok},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := pub.Publish(c.topic, c.msg)
			require.Error(t, err)
			assert.True(t, adapters.IsPermanent(err), err)
		})
	}
}

// A broker whose limit is below the publisher's refuses whole batches: only the message that is too large may fail.
func TestBrokerRefusesSize(t *testing.T) {
	b := start(t, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "2000"}))
	pub := b.open(t, "")
	require.NoError(t, pub.Publish("t", message.NewMessage("first", nil)))
	resume := b.hang(t) // so that the rest is waiting when it goes on, and becomes batches
	var wg sync.WaitGroup
	send := func(key, id string, size int, check func(error)) {
		wg.Go(func() {
			msg := message.NewMessage(id, make([]byte, size))
			msg.Metadata.Set(outbox.KeyOrdering, key)
			check(pub.Publish("t", msg))
		})
	}
	for i := range 30 {
		send("one", fmt.Sprint(i), 300, func(err error) { assert.NoError(t, err) })
	}
	send("one", "large", 3000, func(err error) {
		if assert.ErrorIs(t, err, sarama.ErrMessageSizeTooLarge) {
			assert.True(t, adapters.IsPermanent(err), err)
		}
	})
	resume()
	wg.Wait()
	assert.Len(t, b.read(t, "t"), 31)
}

// A broker that cuts every connection: callers that come meanwhile must not connect each on their own.
func TestOneConnectionAttemptForAllCallers(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var dials atomic.Int32
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			dials.Add(1)
			_ = conn.Close()
		}
	})
	pub, err := adapters.Open(t.Context(), "kafka://"+ln.Addr().String()+"?timeout=5s", nil)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			err := pub.Publish("t", message.NewMessage("1", nil))
			assert.ErrorContains(t, err, ln.Addr().String(), "the error names the brokers")
			assert.False(t, adapters.IsPermanent(err), err)
		})
	}
	wg.Wait()
	assert.Less(t, dials.Load(), int32(20), "64 callers share attempts")
	require.NoError(t, pub.Close())
	require.NoError(t, ln.Close())
	accepting.Wait()
}

func TestSASL(t *testing.T) {
	for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		t.Run(mechanism, func(t *testing.T) {
			addr := saslBroker(t, mechanism)
			publish := func(password string) error {
				pub, err := adapters.Open(t.Context(), "kafka://user:"+password+"@"+addr+"?timeout=3s&sasl_mechanism="+mechanism, nil)
				require.NoError(t, err)
				defer func() { assert.NoError(t, pub.Close()) }()
				return pub.Publish("t", message.NewMessage("1", nil))
			}
			require.NoError(t, publish("right"))
			err := publish("wrong")
			require.Error(t, err)
			assert.NotContains(t, err.Error(), "wrong")
			assert.Equal(t, adapters.BlamePublisher, adapters.Blame(err), "somebody can correct the broker's users: %v", err)
		})
	}
}

func saslBroker(t *testing.T, mechanism string) string {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.AllowAutoTopicCreation(), kfake.EnableSASL(),
		kfake.Superuser(strings.ToUpper(mechanism), "user", "right"))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	return cluster.ListenAddrs()[0]
}

func TestCompression(t *testing.T) {
	b := start(t)
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		require.NoError(t, b.open(t, "?compression="+codec).Publish(codec, message.NewMessage("1", make([]byte, 10_000))))
		assert.Len(t, b.read(t, codec)[0].Payload, 10_000)
	}
}

func TestWatermillSubscriberReadsIt(t *testing.T) {
	b := start(t)
	sent := message.NewMessage(watermill.NewUUID(), []byte{0, 1, 2})
	sent.Metadata.Set("k", "v")
	require.NoError(t, b.open(t, "").Publish("t", sent))

	config := wmkafka.DefaultSaramaSubscriberConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	sub, err := wmkafka.NewSubscriber(wmkafka.SubscriberConfig{
		Brokers: []string{b.addr}, Unmarshaler: wmkafka.DefaultMarshaler{}, OverwriteSaramaConfig: config,
	}, nil)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), await.Patience)
	defer cancel()
	messages, err := sub.Subscribe(ctx, "t")
	require.NoError(t, err)
	got, ok := <-messages
	require.True(t, ok, "no message within 20 s")
	got.Ack()
	assert.Equal(t, sent.UUID, got.UUID)
	assert.Equal(t, sent.Payload, got.Payload)
	assert.Equal(t, "v", got.Metadata.Get("k"))
	require.NoError(t, sub.Close())
}

var errMarshal = errors.New("cannot marshal")

type brokenMarshaler struct{}

func (brokenMarshaler) Marshal(string, *message.Message) (*sarama.ProducerMessage, error) {
	return nil, errMarshal
}

func TestMarshalErrorIsPermanent(t *testing.T) {
	pub, err := kafka.NewPublisher(kafka.Config{Brokers: []string{"127.0.0.1:1"}, Marshaler: brokenMarshaler{}}, nil)
	require.NoError(t, err)
	err = pub.Publish("t", message.NewMessage("1", nil))
	require.ErrorIs(t, err, errMarshal)
	assert.True(t, adapters.IsPermanent(err))
	require.NoError(t, pub.Close())
}

func BenchmarkPublish(b *testing.B) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.AllowAutoTopicCreation(), kfake.DefaultNumPartitions(4))
	require.NoError(b, err)
	defer cluster.Close()
	for _, callers := range []int{1, 64, 1000} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			pub, err := kafka.NewPublisher(kafka.Config{Brokers: cluster.ListenAddrs()}, nil)
			require.NoError(b, err)
			defer func() { _ = pub.Close() }()
			payload := make([]byte, 200)
			b.SetParallelism(max(1, callers/2))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := pub.Publish("bench", message.NewMessage("1", payload)); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// After three failures the driver refuses to ask for ten seconds. A broker that is back must be used at once all the same, and the refusal
// must be told from a failure of the message.
func TestBrokerThatIsBackIsUsedAtOnce(t *testing.T) {
	t.Parallel()
	b := start(t)
	pub, err := adapters.Open(t.Context(), "kafka://"+b.addr+"?timeout=1s", nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, pub.Close()) }()
	require.NoError(t, pub.Publish("orders", message.NewMessage("before", nil)))
	b.down(t)
	var refused interface{ Unavailable() bool }
	await.That(t, func() bool {
		return errors.As(pub.Publish("orders", message.NewMessage("lost", nil)), &refused)
	})
	require.True(t, refused.Unavailable())

	b.up(t)
	back := time.Now()
	await.That(t, func() bool { return pub.Publish("orders", message.NewMessage("after", nil)) == nil })
	require.Less(t, time.Since(back), 5*time.Second)
}

// A broker refuses whole batches for one record. The others are not to blame.
func TestRecordThatTheTopicRefuses(t *testing.T) {
	b := start(t)
	b.answer()
	pub := b.open(t, "")
	require.NoError(t, pub.Publish("t", message.NewMessage("1", nil)))
	for _, code := range []sarama.KError{sarama.ErrInvalidRecord, sarama.ErrPolicyViolation, sarama.ErrInvalidTimestamp} {
		b.mu.Lock()
		b.code = int16(code)
		b.mu.Unlock()
		err := pub.Publish("t", message.NewMessage("2", nil))
		require.ErrorIs(t, err, code)
		assert.Equal(t, adapters.BlameMessage, adapters.Blame(err))
	}
}

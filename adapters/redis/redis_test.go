package redis_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/adapters"
	"github.com/bento-outbox/watermill-outbox/adapters/redis"
)

func TestOpenFaults(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		url  string
		want []string
	}{
		"all at once": {
			"redis://localhost?maxln=5&pool_size=many&timeout=never&read_timeout=soon",
			[]string{`unknown option "maxln": did you mean maxlen?`, "pool_size", "option timeout", "read_timeout"},
		},
		"tls files without tls":    {"redis://localhost?tls_ca=ca.pem", []string{"use the scheme rediss", "tls_ca"}},
		"skip verify without tls":  {"redis://localhost?skip_verify=true", []string{"skip_verify: use the scheme rediss"}},
		"unescaped slash":          {"redis://user:1/secret@localhost", []string{"path must be the number of a database"}},
		"negative database":        {"redis://localhost/-1", []string{"negative"}},
		"several hosts":            {"redis://a:1,b:2", []string{"one host only"}},
		"negative maximum length":  {"redis://localhost?maxlen=-1", []string{"maxlen"}},
		"certificate without key":  {"rediss://localhost?tls_cert=c.pem", []string{"one without the other"}},
		"approximation is no bool": {"redis://localhost?maxlen_approx=maybe", []string{"neither true nor false"}},
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

// Every option of the driver that this package lists must be one that the driver takes, and the other way round.
func TestDriverOptionsAreAccepted(t *testing.T) {
	t.Parallel()
	pub, err := adapters.Open(t.Context(), "rediss://u:p@localhost:1/3?client_name=c&conn_max_idle_time=1m&"+
		"conn_max_lifetime=1m&conn_max_lifetime_jitter=1s&db=2&dial_timeout=1s&max_active_conns=9&"+
		"max_concurrent_dials=2&max_idle_conns=3&max_retries=1&max_retry_backoff=1s&min_idle_conns=0&"+
		"min_retry_backoff=1ms&pipeline_pool_size=2&pipeline_read_buffer_size=4096&pipeline_write_buffer_size=4096&"+
		"pool_fifo=true&pool_size=4&pool_timeout=1s&protocol=2&read_timeout=1s&skip_verify=true&write_timeout=1s", nil)
	require.NoError(t, err)
	require.NoError(t, pub.Close())
}

func TestPermanentErrors(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	pub, err := redis.NewPublisher(client, redis.Config{MaxMessageBytes: 100}, nil)
	require.NoError(t, err)

	reserved := message.NewMessage("1", nil)
	reserved.Metadata.Set(redisstream.UUIDHeaderKey, "")
	cases := map[string]struct {
		topic string
		msg   *message.Message
	}{
		"reserved metadata key": {"t", reserved},
		"too large":             {"t", message.NewMessage("1", make([]byte, 101))},
		"empty topic":           {"", message.NewMessage("1", nil)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := pub.Publish(c.topic, c.msg)
			require.Error(t, err)
			assert.True(t, adapters.IsPermanent(err), err)
		})
	}

	require.NoError(t, server.Set("string", "x"))
	err = pub.Publish("string", message.NewMessage("1", nil))
	require.ErrorContains(t, err, "WRONGTYPE")
	assert.False(t, adapters.IsPermanent(err), "somebody can delete the key")
}

// A server that takes less than the publisher was told: only the message that is too large fails.
func TestServerRefusesSize(t *testing.T) {
	t.Parallel()
	client := realRedis(t)
	require.NoError(t, client.ConfigSet(t.Context(), "proto-max-bulk-len", "1048576").Err())
	t.Cleanup(func() { client.ConfigSet(context.Background(), "proto-max-bulk-len", "536870912") })
	pub, err := redis.NewPublisher(client, redis.Config{}, nil)
	require.NoError(t, err)
	topic := watermill.NewUUID()

	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if i%5 != 0 {
				assert.NoError(t, pub.Publish(topic, message.NewMessage(fmt.Sprint(i), []byte("small"))))
				return
			}
			// Redis closes the connection, and its answer may be lost with it: not always a permanent error.
			assert.Error(t, pub.Publish(topic, message.NewMessage(fmt.Sprint(i), make([]byte, 1<<20+1))))
		})
	}
	wg.Wait()
	assert.Len(t, read(t, client, topic), 16)
}

type answer string

func (a answer) Error() string { return string(a) }
func (answer) RedisError()     {}

func TestServersAnswerToTooLargeIsPermanent(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	client.AddHook(refuse(answer("ERR Protocol error: invalid bulk length")))
	pub, err := redis.NewPublisher(client, redis.Config{}, nil)
	require.NoError(t, err)
	assert.True(t, adapters.IsPermanent(pub.Publish("t", message.NewMessage("1", nil))))
}

// refuse answers every pipeline with an error.
type refuse answer

func (refuse) DialHook(next goredis.DialHook) goredis.DialHook          { return next }
func (refuse) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook { return next }
func (r refuse) ProcessPipelineHook(goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(_ context.Context, cmds []goredis.Cmder) error {
		for _, cmd := range cmds {
			cmd.SetErr(answer(r))
		}
		return answer(r)
	}
}

func TestMaxLen(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	pub, err := adapters.Open(t.Context(), "redis://"+server.Addr()+"?maxlen=3&maxlen_approx=false", nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, pub.Close()) })
	own, err := redis.NewPublisher(client, redis.Config{MaxLen: 3, ExactMaxLen: true, MaxLens: map[string]int64{"own": 5, "all": 0}}, nil)
	require.NoError(t, err)

	for i := range 10 {
		require.NoError(t, pub.Publish("url", message.NewMessage(fmt.Sprint(i), nil)))
		for _, topic := range []string{"default", "own", "all"} {
			require.NoError(t, own.Publish(topic, message.NewMessage(fmt.Sprint(i), nil)))
		}
	}
	for topic, want := range map[string]int{"url": 3, "default": 3, "own": 5, "all": 10} {
		assert.Len(t, read(t, client, topic), want, topic)
	}
}

// What nobody waits for any more must not be sent later: the sender may have lost its lease.
func TestAbandonedMessageIsNotSent(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	hook := &gate{open: make(chan struct{}), entered: make(chan struct{}, 8)}
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	client.AddHook(hook)
	t.Cleanup(func() { _ = client.Close() })
	pub, err := redis.NewPublisher(client, redis.Config{}, nil)
	require.NoError(t, err)

	first := make(chan error, 1)
	go func() { first <- pub.Publish("t", message.NewMessage("first", nil)) }()
	<-hook.entered // the pipeline of the first is under way: the second waits for its turn

	third := make(chan error, 1) // to share a pipeline with the second
	go func() { third <- pub.Publish("t", message.NewMessage("third", nil)) }()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	second := message.NewMessage("second", nil)
	second.SetContext(ctx)
	require.ErrorIs(t, pub.Publish("t", second), context.DeadlineExceeded)

	close(hook.open)
	require.NoError(t, <-first)
	require.NoError(t, <-third)
	var got []string
	for _, r := range read(t, client, "t") {
		got = append(got, r.UUID)
	}
	assert.Equal(t, []string{"first", "third"}, got)
}

// gate holds pipelines back until it is open.
type gate struct{ open, entered chan struct{} }

func (g *gate) DialHook(next goredis.DialHook) goredis.DialHook          { return next }
func (g *gate) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook { return next }
func (g *gate) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		g.entered <- struct{}{}
		<-g.open
		return next(ctx, cmds)
	}
}

func TestWatermillSubscriberReadsIt(t *testing.T) {
	t.Parallel()
	client := realRedis(t)
	pub, err := redis.NewPublisher(client, redis.Config{}, nil)
	require.NoError(t, err)
	topic := watermill.NewUUID()
	sent := message.NewMessage(watermill.NewUUID(), []byte{0, 1, 2})
	sent.Metadata.Set("k", "v")
	require.NoError(t, pub.Publish(topic, sent))

	sub, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client: realRedis(t), ConsumerGroup: "g", OldestId: "0",
	}, nil)
	require.NoError(t, err)
	messages, err := sub.Subscribe(t.Context(), topic)
	require.NoError(t, err)
	got := <-messages
	got.Ack()
	assert.Equal(t, sent.UUID, got.UUID)
	assert.True(t, bytes.Equal(sent.Payload, got.Payload))
	assert.Equal(t, sent.Metadata, got.Metadata)
	require.NoError(t, sub.Close())
}

func realRedis(t *testing.T) goredis.UniversalClient {
	t.Helper()
	url := os.Getenv("OUTBOX_TEST_REDIS_URL")
	if url == "" {
		t.Skip("OUTBOX_TEST_REDIS_URL is not set")
	}
	options, err := goredis.ParseURL(url)
	require.NoError(t, err)
	client := goredis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestTLS(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	server, err := miniredis.RunTLS(&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	require.NoError(t, err)
	t.Cleanup(server.Close)

	pub, err := adapters.Open(t.Context(), "rediss://"+server.Addr()+"?tls_ca="+file, nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, pub.Close()) })
	require.NoError(t, pub.Publish("t", message.NewMessage("1", nil)))

	untrusting, err := adapters.Open(t.Context(), "rediss://"+server.Addr()+"?timeout=2s", nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, untrusting.Close()) })
	require.ErrorContains(t, untrusting.Publish("t", message.NewMessage("2", nil)), "certificate")
}

func BenchmarkPublish(b *testing.B) {
	url := os.Getenv("OUTBOX_TEST_REDIS_URL")
	if url == "" {
		b.Skip("OUTBOX_TEST_REDIS_URL is not set")
	}
	for _, callers := range []int{1, 64, 1000} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			pub, err := adapters.Open(b.Context(), url, nil)
			require.NoError(b, err)
			defer func() { _ = pub.Close() }()
			payload := make([]byte, 200)
			b.SetParallelism(callers / 2)
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

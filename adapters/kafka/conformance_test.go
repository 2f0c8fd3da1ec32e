package kafka_test

import (
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	wmkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/bento-outbox/watermill-outbox/adapters"
	"github.com/bento-outbox/watermill-outbox/adapters/adapterstest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"),
		goleak.IgnoreAnyFunction("github.com/eapache/go-resiliency/breaker.(*Breaker).timer")) // sleeps for ten seconds, then ends
}

func TestConformance(t *testing.T) {
	b := start(t)
	adapterstest.Run(t, adapterstest.Harness{
		Open: func(t *testing.T) message.Publisher {
			pub, err := adapters.Open(t.Context(), "kafka://"+b.addr, watermill.NopLogger{})
			require.NoError(t, err)
			return pub
		},
		Received:   b.read,
		RecordsKey: true,
		Down:       b.down, Up: b.up, Hang: b.hang,
	})
}

// broker is one embedded broker that keeps its port and its data through a restart.
type broker struct {
	addr    string
	dir     string
	options []kfake.Opt
	cluster *kfake.Cluster
}

func start(t *testing.T, options ...kfake.Opt) *broker {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	b := &broker{addr: ln.Addr().String(), dir: t.TempDir(), options: options}
	require.NoError(t, ln.Close())
	b.up(t)
	t.Cleanup(func() { b.cluster.Close() })
	return b
}

func (b *broker) up(t *testing.T) {
	t.Helper()
	_, text, err := net.SplitHostPort(b.addr)
	require.NoError(t, err)
	port, err := strconv.Atoi(text)
	require.NoError(t, err)
	b.cluster, err = kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(1), kfake.Ports(port), kfake.DataDir(b.dir), kfake.AllowAutoTopicCreation(), kfake.DefaultNumPartitions(4),
	}, b.options...)...)
	require.NoError(t, err)
}

func (b *broker) down(*testing.T) { b.cluster.Close() }

// hang holds every produce request until resume is called.
func (b *broker) hang(*testing.T) (resume func()) {
	gate := make(chan struct{})
	b.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		b.cluster.SleepControl(func() { <-gate })
		return nil, nil, false
	})
	return sync.OnceFunc(func() { close(gate) })
}

// read decodes a topic as Watermill's own subscriber does, partition after partition.
func (b *broker) read(t *testing.T, topic string) []adapterstest.Record {
	t.Helper()
	config := sarama.NewConfig()
	config.Consumer.MaxWaitTime = 10 * time.Millisecond
	client, err := sarama.NewClient([]string{b.addr}, config)
	require.NoError(t, err)
	defer func() { require.NoError(t, client.Close()) }()
	consumer, err := sarama.NewConsumerFromClient(client)
	require.NoError(t, err)
	defer func() { require.NoError(t, consumer.Close()) }()
	partitions, err := client.Partitions(topic)
	require.NoError(t, err)
	var records []adapterstest.Record
	for _, partition := range partitions {
		end, err := client.GetOffset(topic, partition, sarama.OffsetNewest)
		require.NoError(t, err)
		if end == 0 {
			continue
		}
		stream, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
		require.NoError(t, err)
		for record := range stream.Messages() {
			msg, err := wmkafka.DefaultMarshaler{}.Unmarshal(record)
			require.NoError(t, err)
			records = append(records, adapterstest.Record{
				UUID: msg.UUID, Payload: msg.Payload, Metadata: msg.Metadata, Key: record.Key,
			})
			if record.Offset == end-1 {
				break
			}
		}
		require.NoError(t, stream.Close())
	}
	return records
}

package kafka_test

import (
	"database/sql"
	"fmt"
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
	"github.com/bento-outbox/watermill-outbox/adapters/kafka"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
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

func TestRefusals(t *testing.T) {
	b := start(t)
	b.answer()
	adapterstest.Refusals(t, adapterstest.Harness{
		Open:     func(t *testing.T) message.Publisher { return b.unclosed(t, "?timeout=3s") },
		Received: b.read,
		Database: func(t *testing.T) *sql.DB { return testdb.SQLite(t) },
		Refusals: []adapterstest.Refusal{
			b.refusal(sarama.ErrTopicAuthorizationFailed, true), b.refusal(sarama.ErrNotEnoughReplicas, true), b.refusal(sarama.ErrKafkaStorageError, true),
			b.refusal(sarama.ErrLeaderNotAvailable, true), b.refusal(sarama.ErrClusterAuthorizationFailed, false),
			b.refusal(sarama.ErrThrottlingQuotaExceeded, false), b.refusal(sarama.ErrBrokerNotAvailable, false),
			{Name: "topic is not there", Says: "not exist", TopicOnly: true, Open: b.uncreating, Begin: b.remove, End: b.create},
		},
	})
}

// answer makes the broker answer b.code.
func (b *broker) answer() {
	b.cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.code == 0 {
			return nil, nil, false
		}
		req := r.(*kmsg.ProduceRequest)
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		found := false
		for _, topic := range req.Topics {
			answer := kmsg.NewProduceResponseTopic()
			answer.Topic, answer.TopicID = topic.Topic, topic.TopicID
			for _, partition := range topic.Partitions {
				part := kmsg.NewProduceResponseTopicPartition()
				part.Partition, part.ErrorCode = partition.Partition, b.code
				if b.refused != "" && b.refused != topic.Topic {
					part.ErrorCode = int16(sarama.ErrNotLeaderForPartition) // it comes again, in another request
				} else {
					found = true
				}
				answer.Partitions = append(answer.Partitions, part)
			}
			resp.Topics = append(resp.Topics, answer)
		}
		return resp, nil, found
	})
}

func (b *broker) refusal(code sarama.KError, topicOnly bool) adapterstest.Refusal {
	set := func(code int16) func(*testing.T, string) {
		return func(_ *testing.T, topic string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.code, b.refused = code, topic; !topicOnly {
				b.refused = ""
			}
		}
	}
	return adapterstest.Refusal{Name: fmt.Sprintf("error %d", code), Says: code.Error(), TopicOnly: topicOnly, Begin: set(int16(code)), End: set(0)}
}

func (b *broker) admin(t *testing.T) sarama.ClusterAdmin {
	t.Helper()
	config := sarama.NewConfig()
	config.Version = sarama.V2_4_0_0
	admin, err := sarama.NewClusterAdmin([]string{b.addr}, config)
	require.NoError(t, err)
	return admin
}

// uncreating opens a publisher that asks for no topic to be created.
func (b *broker) uncreating(t *testing.T) message.Publisher {
	config := kafka.Config{Brokers: []string{b.addr}, Timeout: 3 * time.Second}
	config.Sarama = kafka.DefaultSaramaConfig(config.Timeout)
	config.Sarama.Metadata.AllowAutoTopicCreation = false
	pub, err := kafka.NewPublisher(config, nil)
	require.NoError(t, err)
	return pub
}

func (b *broker) remove(t *testing.T, topic string) {
	admin := b.admin(t)
	defer func() { require.NoError(t, admin.Close()) }()
	require.NoError(t, admin.DeleteTopic(topic))
}

func (b *broker) create(t *testing.T, topic string) {
	admin := b.admin(t)
	defer func() { require.NoError(t, admin.Close()) }()
	require.NoError(t, admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 4, ReplicationFactor: 1}, false))
}

// broker is one embedded broker that keeps its port and its data through a restart.
type broker struct {
	addr    string
	dir     string
	options []kfake.Opt
	cluster *kfake.Cluster

	mu      sync.Mutex
	code    int16  // what it answers to what is produced; 0 when it takes it
	refused string // the topic that it answers so; empty for all
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

package faults

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/bento-outbox/watermill-outbox/internal/testserver"
)

// Servers are the servers of an audit, on private ports, in a directory of their own.
type Servers struct {
	Postgres, Kafka, Redis *testserver.Server
	// Embedded says why Kafka is the embedded stand-in; empty when it is the real one.
	Embedded string

	dir        string
	kafkaFront *Relay // what Kafka tells its clients to connect to
}

// StartServers starts PostgreSQL, Redis and Kafka below dir, which must be empty. Where Kafka's jars are not there the embedded stand-in takes
// its place. What is missing otherwise is a [testserver.ErrMissing].
func StartServers(ctx context.Context, dir string) (_ *Servers, err error) {
	s := &Servers{dir: dir}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	for _, name := range []string{"postgres", "redis", "kafka"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil { // another user runs PostgreSQL
		return nil, err
	}
	if s.Postgres, err = testserver.Postgres(filepath.Join(dir, "postgres"), "max_connections=300", "max_prepared_transactions=50", "timezone=UTC"); err != nil {
		return nil, err
	}
	// Every answer comes after an fsync, so that what was acknowledged outlives a kill.
	if s.Redis, err = testserver.Redis(filepath.Join(dir, "redis"), "--appendonly", "yes", "--appendfsync", "always"); err != nil {
		return nil, err
	}
	if err := s.newKafka(filepath.Join(dir, "kafka")); err != nil {
		return nil, err
	}
	for _, x := range []*testserver.Server{s.Postgres, s.Redis, s.Kafka} {
		if err := x.Start(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Servers) newKafka(dir string) error {
	addr, err := testserver.FreeAddr()
	if err != nil {
		return err
	}
	if s.kafkaFront, err = NewRelay(addr); err != nil {
		return err
	}
	// A kill of the process loses nothing that was acknowledged: it is in the kernel's page cache.
	s.Kafka, err = testserver.Kafka(dir, &testserver.Front{Listen: addr, Advertise: s.kafkaFront.Addr},
		"log.message.timestamp.type=LogAppendTime", "broker.session.timeout.ms=3000", "broker.heartbeat.interval.ms=500")
	if errors.Is(err, testserver.ErrMissing) {
		s.Embedded = err.Error()
		s.Kafka, err = newKfake(dir, addr, s.kafkaFront.Addr)
	}
	return err
}

// Close ends the servers.
func (s *Servers) Close() {
	for _, x := range []*testserver.Server{s.Kafka, s.Redis, s.Postgres} {
		if x != nil {
			x.Stop(x.Quit())
		}
	}
	if s.kafkaFront != nil {
		s.kafkaFront.Close()
	}
}

// KafkaName tells which Kafka it is.
func (s *Servers) KafkaName() string {
	if s.Embedded != "" {
		return "kfake (embedded stand-in: " + s.Embedded + ")"
	}
	return "Apache Kafka " + s.Kafka.Version
}

func postgresURL(addr, database string) string {
	return "postgres://postgres@" + addr + "/" + database + "?sslmode=disable&connect_timeout=5"
}

func kafkaAnswers(ctx context.Context, addr string) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Ping(ctx)
}

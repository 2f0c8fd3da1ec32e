package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/bento-outbox/watermill-outbox/benchmarks/lab"
	"github.com/bento-outbox/watermill-outbox/schema"
)

type benchCommand struct {
	DatabaseURL string   `name:"database-url" env:"DATABASE_URL" placeholder:"URL" help:"PostgreSQL server to use. The benchmark creates databases of its own and drops them at the end, so the user needs CREATEDB."`
	RedisURL    string   `name:"redis-url" env:"REDIS_URL" placeholder:"URL" help:"Redis server for --to redis. The stream watermill-outbox-bench is emptied."`
	KafkaURL    string   `name:"kafka-url" placeholder:"URL" help:"Kafka broker for --to kafka. The topic watermill-outbox-bench is emptied."`
	To          []string `default:"nothing" placeholder:"NAME" help:"Destinations to measure: nothing, 1ms (a publisher that takes 1 ms), redis or kafka (default nothing)."`
	Systems     []string `default:"stock,ours" placeholder:"NAME" help:"Forwarders to measure: stock (Watermill's), ours, ours-router (ours on an application's Router) or loop (hand-written) (default stock,ours)."`
	Events      []string `default:"100000" placeholder:"N" help:"Backlog sizes to drain (default 100000)."`
	Payload     string   `default:"300" placeholder:"BYTES" help:"Payload size (default 300)."`
	Keys        string   `default:"10000" placeholder:"N" help:"Number of ordering keys (default 10000)."`
	Repeats     string   `default:"3" placeholder:"N" help:"Runs per combination (default 3)."`
}

// Run prints its measurements as a Markdown table.
func (c *benchCommand) Run(s *session) error {
	bar := newProgress(s.stderr)
	defer bar.clear()
	settings := lab.Settings{
		DatabaseURL: c.DatabaseURL, RedisURL: c.RedisURL, KafkaURL: c.KafkaURL, Destinations: c.To, Systems: c.Systems,
		Payload:  s.faults.Number("--payload", c.Payload, 100, 1<<20),
		Keys:     s.faults.Number("--keys", c.Keys, 1, 1_000_000),
		Repeats:  s.faults.Number("--repeats", c.Repeats, 1, 100),
		Progress: bar.show,
	}
	for _, text := range c.Events {
		n, err := strconv.Atoi(text)
		if err != nil {
			s.faults.Add("--events: %q is no number", text)
		}
		settings.Events = append(settings.Events, n)
	}
	if source, err := parseSource(c.DatabaseURL); c.DatabaseURL == "" {
		s.faults.Add("no database: set --database-url or DATABASE_URL")
	} else if err != nil {
		s.faults.Add("--database-url: %w", err)
	} else if source.dialect != schema.PostgreSQL {
		s.faults.Add("--database-url: the benchmark needs PostgreSQL")
	}
	if err := s.faults.Err(); err != nil {
		return err
	}
	if err := settings.Check(); err != nil {
		for line := range strings.Lines(err.Error()) {
			s.faults.Add("%s", strings.TrimSpace(line))
		}
		return s.faults.Err()
	}
	ctx, stop := interruptible(context.Background(), nil)
	defer stop()
	return lab.Run(ctx, settings, barred{s.stdout, bar}, barred{s.stderr, bar})
}

// barred removes the progress bar before each line.
type barred struct {
	w   io.Writer
	bar *progress
}

func (b barred) Write(p []byte) (int, error) {
	b.bar.clear()
	n, err := b.w.Write(p)
	if err != nil {
		return n, fmt.Errorf("write: %w", err)
	}
	return n, nil
}

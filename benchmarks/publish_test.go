package benchmarks_test

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/benchmarks/internal/backlog"
	"github.com/bento-outbox/watermill-outbox/benchmarks/internal/sink"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// BenchmarkPublish stores events in business transactions, by the publisher and by a hand-written INSERT of the same rows; an iteration is
// one transaction.
func BenchmarkPublish(b *testing.B) {
	b.Run("postgres", func(b *testing.B) {
		db := testdb.Postgres(b)
		db.SetMaxOpenConns(40)
		db.SetMaxIdleConns(40)
		publish(b, db, schema.PostgreSQL, []int{1, 8, 32})
	})
	b.Run("sqlite", func(b *testing.B) {
		db := testdb.SQLite(b)
		publish(b, db, schema.SQLite, []int{1})
	})
}

func publish(b *testing.B, db *sql.DB, dialect schema.Dialect, writers []int) {
	_, err := db.ExecContext(b.Context(), `CREATE TABLE orders (id bigint PRIMARY KEY, total bigint NOT NULL)`)
	require.NoError(b, err)
	var order atomic.Int64
	byPublisher := func(ctx context.Context, tx *sql.Tx, first, events int) error {
		p, err := outbox.NewPublisher(tx, outbox.Config{Dialect: dialect},
			watermill.NopLogger{})
		if err != nil {
			return err
		}
		messages := make([]*message.Message, events)
		for i := range messages {
			key := (first + i) % keys
			m := message.NewMessage(sink.ID(key, first+i), backlog.Payload(key, first+i))
			m.Metadata.Set("correlation_id", m.UUID)
			outbox.SetAggregate(m, "order", strconv.Itoa(key))
			messages[i] = m
		}
		return p.PublishContext(ctx, backlog.Topic, messages...)
	}
	byHand := func(ctx context.Context, tx *sql.Tx, first, events int) error {
		var args []any
		for i := range events {
			key := (first + i) % keys
			id := sink.ID(key, first+i)
			args = append(args, id, "order", strconv.Itoa(key), backlog.Topic, string(backlog.Payload(key, first+i)), `{"correlation_id":"`+id+`"}`)
		}
		_, err := tx.ExecContext(ctx, handwritten[events], args...)
		return err
	}
	for _, events := range []int{1, 10} {
		for _, n := range writers {
			for _, way := range []struct {
				name  string
				store func(ctx context.Context, tx *sql.Tx, first, events int) error
			}{{"publisher", byPublisher}, {"insert", byHand}} {
				b.Run(fmt.Sprintf("events=%d/writers=%d/%s", events, n, way.name), func(b *testing.B) {
					each(b, n, func() error {
						first := int(order.Add(int64(events))) - events + 1
						tx, err := db.BeginTx(b.Context(), nil)
						if err != nil {
							return err
						}
						defer func() { _ = tx.Rollback() }()
						if _, err := tx.ExecContext(b.Context(), `INSERT INTO orders (id, total) VALUES ($1, $2)`, first, 100); err != nil {
							return err
						}
						if err := way.store(b.Context(), tx, first, events); err != nil {
							return err
						}
						return tx.Commit()
					})
					b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
				})
			}
		}
	}
}

// each runs f b.N times by a number of writers.
func each(b *testing.B, writers int, f func() error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	errs := make(chan error, writers)
	for range writers {
		go func() {
			for left.Add(-1) >= 0 {
				if err := f(); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range writers {
		require.NoError(b, <-errs)
	}
}

var handwritten = map[int]string{1: insert(1), 10: insert(10)}

func insert(events int) string {
	const columns = 6
	var b strings.Builder
	b.WriteString(`INSERT INTO outbox (id, aggregate_type, aggregate_id, topic, payload, event_metadata) VALUES (`)
	for p := 1; p <= events*columns; p++ {
		fmt.Fprintf(&b, "$%d", p)
		switch {
		case p == events*columns:
			b.WriteString(")")
		case p%columns == 0:
			b.WriteString("),(")
		default:
			b.WriteString(",")
		}
	}
	return b.String()
}

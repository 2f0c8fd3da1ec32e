package benchmarks_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/admin"
	"github.com/bento-outbox/watermill-outbox/benchmarks/internal/backlog"
	"github.com/bento-outbox/watermill-outbox/benchmarks/internal/sink"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// BenchmarkClean drains a backlog into nothing, alone and beside a cleaner, one after the other. An iteration is one of each.
func BenchmarkClean(b *testing.B) {
	const events, finished = 40_000, 100_000
	db := testdb.Postgres(b)
	var alone, beside, cleaning time.Duration
	var removed int64
	for i := range b.N {
		for turn := range 2 {
			clean := (turn+i)%2 == 1
			b.StopTimer()
			if clean {
				for _, query := range []string{
					`ALTER TABLE outbox DISABLE TRIGGER USER`, // so that nothing is pending
					fmt.Sprintf(`INSERT INTO outbox (topic, aggregate_type, aggregate_id, payload, event_metadata) SELECT 'done', 'order', (n %% %d)::text,
						rpad('{"number":' || n || ',"text":"', %d, 'x') || '"}', '{"correlation_id":"1"}' FROM generate_series(1, %d) n`,
						keys, backlog.PayloadSize-2, finished),
					`ALTER TABLE outbox ENABLE TRIGGER USER`,
				} {
					_, err := db.ExecContext(b.Context(), query)
					require.NoError(b, err)
				}
			}
			fillPostgres(b, db, backlog.Keys(events, keys, 0))
			stop := func() {}
			if clean {
				stop = startCleaner(b, db, &removed, &cleaning)
			}
			b.StartTimer()
			took := drain(b, db, events)
			stop()
			if clean {
				beside += took
			} else {
				alone += took
			}
		}
	}
	rate := func(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }
	b.ReportMetric(rate(events*b.N, alone), "alone-events/s")
	b.ReportMetric(rate(events*b.N, beside), "beside-events/s")
	b.ReportMetric(alone.Seconds()/beside.Seconds(), "beside/alone")
	b.ReportMetric(float64(removed)/cleaning.Seconds(), "removed/s")
}

// startCleaner cleans until the function it returns is called, or everything is gone.
func startCleaner(b *testing.B, db *sql.DB, removed *int64, took *time.Duration) func() {
	ctx, cancel := context.WithCancel(b.Context())
	var n atomic.Int64
	began := time.Now()
	var last atomic.Int64 // when the last batch ended
	cleaner, err := admin.NewCleaner(ctx, db, admin.CleanerConfig{Retention: time.Nanosecond, Progress: func(p admin.CleanerProgress) {
		n.Store(p.Removed.Sent)
		last.Store(int64(time.Since(began)))
	}}, nil)
	require.NoError(b, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = cleaner.Once(ctx) // it is stopped on its way
	}()
	return func() {
		cancel()
		<-done
		*removed += n.Load()
		*took += time.Duration(last.Load())
	}
}

func drain(b *testing.B, db *sql.DB, events int) time.Duration {
	check := sink.New(nil, events, keys)
	f, err := forwarder.New(db, map[string]message.Publisher{"default": check}, forwarder.Config{}, watermill.NopLogger{})
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	began := time.Now()
	go func() { ended <- f.Run(ctx) }()
	select {
	case <-check.Done():
	case err := <-ended:
		b.Fatalf("the forwarder ended before the backlog was empty: %v", err)
	}
	took := time.Since(began)
	cancel()
	require.NoError(b, <-ended)
	require.NoError(b, check.Counts().Err())
	return took
}

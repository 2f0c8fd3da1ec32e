package tracing_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

// Off, the middleware is not there: the handler is called as if it had not been added.
func TestTraceIsFreeWhenItIsOff(t *testing.T) {
	calls := 0
	produced := []*message.Message{}
	handler := func(*message.Message) ([]*message.Message, error) { calls++; return produced, nil }
	m := event(context.Background(), `{}`)
	m.Metadata.Set("traceparent", "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01")
	measure := func(cfg middleware.TraceConfig) float64 {
		traced := middleware.Trace(cfg)(handler)
		return testing.AllocsPerRun(100, func() { _, _ = traced(m) })
	}
	require.Zero(t, measure(middleware.TraceConfig{}))
	require.NotZero(t, measure(middleware.TraceConfig{TracerProvider: newSpans().provider}))
	require.Equal(t, 202, calls)
}

// discard is a destination, and an exporter, that takes everything.
type discard struct{}

func (discard) Publish(string, ...*message.Message) error                  { return nil }
func (discard) Close() error                                               { return nil }
func (discard) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (discard) Shutdown(context.Context) error                             { return nil }

// BenchmarkForward drains events that carry a trace context from SQLite to nothing: what an event costs, CPU and allocations, with tracing off,
// with events whose traces are not sampled, and with all of them sampled and taken by a batch processor that exports to nothing.
func BenchmarkForward(b *testing.B) {
	for _, c := range []struct {
		name  string
		flags trace.TraceFlags
		on    bool
	}{{"off", trace.FlagsSampled, false}, {"unsampled", 0, true}, {"sampled", trace.FlagsSampled, true}} {
		b.Run(c.name, func(b *testing.B) {
			db := testdb.SQLite(b)
			carried := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: c.flags})
			ctx := trace.ContextWithSpanContext(context.Background(), carried)
			for left := b.N; left > 0; left -= 500 {
				events := make([]*message.Message, min(left, 500))
				for i := range events {
					events[i] = event(ctx, `{"id":1,"price":12.5}`)
				}
				publish(b, db, "orders", events...)
			}
			cfg := forwarder.Config{}
			if c.on {
				provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(discard{}))
				defer func() { _ = provider.Shutdown(ctx) }()
				cfg.TracerProvider = provider
			}
			b.ReportAllocs()
			b.ResetTimer()
			before := cpu()
			drain(b, db, cfg, discard{})
			b.ReportMetric(float64((cpu()-before).Microseconds())/float64(b.N), "cpu-us/op")
		})
	}
}

// cpu is the processor time that the process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

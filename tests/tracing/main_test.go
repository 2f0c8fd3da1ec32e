package tracing_test

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var w3c = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})

// spans are what the SDK has exported.
type spans struct {
	*tracetest.InMemoryExporter
	provider *sdktrace.TracerProvider
}

func newSpans() spans {
	exporter := tracetest.NewInMemoryExporter()
	return spans{exporter, sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))}
}

// start starts a span as an application does, for a request.
func (s spans) start(ctx context.Context, name string) (context.Context, trace.Span) {
	return s.provider.Tracer("shop").Start(ctx, name)
}

// named returns the spans with a name, in the order of their ends.
func (s spans) named(name string) []tracetest.SpanStub {
	var list []tracetest.SpanStub
	for _, span := range s.GetSpans() {
		if span.Name == name {
			list = append(list, span)
		}
	}
	return list
}

func (s spans) one(t *testing.T, name string) tracetest.SpanStub {
	t.Helper()
	list := s.named(name)
	require.Len(t, list, 1, "%s among %v", name, s.names())
	return list[0]
}

func (s spans) names() []string {
	var list []string
	for _, span := range s.GetSpans() {
		list = append(list, span.Name)
	}
	return list
}

func attributes(s tracetest.SpanStub) map[string]any {
	m := map[string]any{}
	for _, a := range s.Attributes {
		m[string(a.Key)] = a.Value.AsInterface()
	}
	return m
}

func value(s tracetest.SpanStub, key string) any {
	for _, a := range s.Attributes {
		if a.Key == attribute.Key(key) {
			return a.Value.AsInterface()
		}
	}
	return nil
}

// below checks that child hangs right below parent, in its trace.
func below(t *testing.T, child tracetest.SpanStub, parent trace.SpanContext) {
	t.Helper()
	require.Equal(t, parent.TraceID(), child.SpanContext.TraceID(), child.Name)
	require.Equal(t, parent.SpanID(), child.Parent.SpanID(), child.Name)
}

// carried is the trace context in a message's metadata.
func carried(m message.Metadata) trace.SpanContext {
	return trace.SpanContextFromContext(w3c.Extract(context.Background(), propagation.MapCarrier(m)))
}

// publish stores messages in a transaction, as an application does that traces.
func publish(t testing.TB, db *sql.DB, topic string, messages ...*message.Message) {
	t.Helper()
	within(t, db, outbox.Config{Propagator: w3c}, func(p *outbox.Publisher) error { return p.Publish(topic, messages...) })
}

func within(t testing.TB, db *sql.DB, cfg outbox.Config, do func(*outbox.Publisher) error) {
	t.Helper()
	dialect, err := schema.DialectOf(db)
	require.NoError(t, err)
	cfg.Dialect = dialect
	tx, err := db.Begin()
	require.NoError(t, err)
	p, err := outbox.NewPublisher(tx, cfg, nil)
	require.NoError(t, err)
	require.NoError(t, do(p))
	require.NoError(t, tx.Commit())
}

func event(ctx context.Context, payload string) *message.Message {
	return message.NewMessageWithContext(ctx, watermill.NewUUID(), []byte(payload))
}

// sink is a destination that remembers what it got and fails as it is told.
type sink struct {
	mu   sync.Mutex
	got  []*message.Message
	fail func(*message.Message) error
}

func (s *sink) Publish(_ string, messages ...*message.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range messages {
		if s.fail != nil {
			if err := s.fail(m); err != nil {
				return err
			}
		}
		s.got = append(s.got, m)
	}
	return nil
}

func (s *sink) Close() error { return nil }

// failures fails a number of times.
func failures(n int, err error) func(*message.Message) error {
	return func(*message.Message) error {
		if n--; n >= 0 {
			return err
		}
		return nil
	}
}

// drain forwards all there is to to.
func drain(t testing.TB, db *sql.DB, cfg forwarder.Config, to message.Publisher) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
	defer cancel()
	drainWithin(ctx, t, db, cfg, to)
}

func drainWithin(ctx context.Context, t testing.TB, db *sql.DB, cfg forwarder.Config, to message.Publisher) {
	t.Helper()
	f, err := forwarder.New(db, map[string]message.Publisher{"broker": to}, cfg, nil)
	require.NoError(t, err)
	require.NoError(t, f.Drain(ctx))
}

// eventually fails the test with the names of the spans when cond does not come true.
func (s spans) eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	await.That(t, cond, "%s; spans: %s", what, strings.Join(s.names(), ", "))
}

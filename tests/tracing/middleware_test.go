package tracing_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/bento-outbox/watermill-outbox/internal/delivery"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

// handled runs handler on one message that was published under the span "request", on a Router with middlewares, until done holds. What the
// handler returns goes to the topic "out", whose handler does nothing.
func handled(t *testing.T, all spans, mws []message.HandlerMiddleware, handler message.HandlerFunc, done func() bool) trace.SpanContext {
	t.Helper()
	ps := gochannel.NewGoChannel(gochannel.Config{Persistent: true}, nil)
	r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	require.NoError(t, err)
	h := r.AddHandler("work", "in", ps, "out", ps, handler)
	h.AddMiddleware(mws...)
	out := r.AddConsumerHandler("rest", "out", ps, func(*message.Message) error { return nil })
	out.AddMiddleware(middleware.Trace(middleware.TraceConfig{TracerProvider: all.provider}))
	ctx, request := all.start(t.Context(), "request")
	m := message.NewMessage(watermill.NewUUID(), []byte(`{}`))
	m.Metadata.Set("traceparent", traceparent(ctx))
	request.End()
	require.NoError(t, ps.Publish("in", m))
	go func() { _ = r.Run(t.Context()) }()
	all.eventually(t, "done", done)
	require.NoError(t, r.Close())
	require.NoError(t, ps.Close())
	return request.SpanContext()
}

func traceparent(ctx context.Context) string {
	m := message.Metadata{}
	w3c.Inject(ctx, propagation.MapCarrier(m))
	return m["traceparent"]
}

func TestTraceCarriesOnWhatTheHandlerReturns(t *testing.T) {
	t.Parallel()
	all := newSpans()
	mw := middleware.Trace(middleware.TraceConfig{TracerProvider: all.provider})
	request := handled(t, all, []message.HandlerMiddleware{mw, mw}, func(m *message.Message) ([]*message.Message, error) {
		_, span := all.start(m.Context(), "query")
		span.End()
		return []*message.Message{m.Copy(), {UUID: "2"}}, nil
	}, func() bool { return len(all.named("process out")) == 2 })
	processes := all.named("process in")
	require.Len(t, processes, 2)
	inner, outer := processes[0], processes[1] // which ends last
	below(t, outer, request)
	below(t, inner, outer.SpanContext)
	below(t, all.one(t, "query"), inner.SpanContext)
	for _, next := range all.named("process out") {
		require.Contains(t, []trace.SpanID{inner.SpanContext.SpanID(), outer.SpanContext.SpanID()}, next.Parent.SpanID())
		require.Equal(t, request.TraceID(), next.SpanContext.TraceID())
	}
	require.Equal(t, codes.Unset, outer.Status.Code)
}

func TestTraceRecordsFailures(t *testing.T) {
	t.Parallel()
	all := newSpans()
	tries := 0
	retry, err := middleware.Retry(middleware.RetryPolicy{MaxAttempts: 4, InitialInterval: time.Millisecond, Multiplier: 1}, nil)
	require.NoError(t, err)
	recoverer := func(next message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) (out []*message.Message, err error) {
			defer func() {
				if p := recover(); p != nil {
					err = errors.New("recovered")
				}
			}()
			return next(m)
		}
	}
	mw := middleware.Trace(middleware.TraceConfig{TracerProvider: all.provider})
	request := handled(t, all, []message.HandlerMiddleware{retry, recoverer, mw}, func(m *message.Message) ([]*message.Message, error) {
		switch tries++; tries {
		case 1:
			return nil, &net{}
		case 2:
			panic("lost")
		case 3:
			return nil, context.DeadlineExceeded
		}
		return nil, nil
	}, func() bool { return len(all.named("process in")) == 4 })
	for i, want := range []struct {
		code        codes.Code
		text, class any
	}{
		{codes.Error, "no route to host", "*tracing_test.net"},
		{codes.Error, "the handler panicked", "_OTHER"},
		{codes.Error, "context deadline exceeded", "timeout"},
		{codes.Unset, "", nil},
	} {
		span := all.named("process in")[i]
		below(t, span, request)
		require.Equal(t, want.code, span.Status.Code)
		require.Equal(t, want.text, span.Status.Description)
		require.Equal(t, want.class, value(span, "error.type"))
	}
}

// A failure that a middleware inside has recorded for the forwarder, and not returned, counts.
func TestTraceSeesWhatWasRecorded(t *testing.T) {
	t.Parallel()
	all := newSpans()
	retry, err := middleware.Retry(middleware.RetryPolicy{MaxAttempts: 3, InitialInterval: time.Second, Multiplier: 1}, nil)
	require.NoError(t, err)
	handler := middleware.Trace(middleware.TraceConfig{TracerProvider: all.provider})(retry(func(*message.Message) ([]*message.Message, error) {
		return nil, &net{}
	}))
	ctx := delivery.NewContext(t.Context(), delivery.New(2, time.Now()))
	m := event(ctx, `{}`)
	_, err = handler(m)
	require.NoError(t, err)
	require.Equal(t, ctx, m.Context(), "the message keeps the context of a span that has ended")
	span := all.one(t, "process")
	require.False(t, span.Parent.IsValid())
	require.Equal(t, "no route to host", span.Status.Description)
	require.Equal(t, int64(2), value(span, "outbox.attempt"))
}

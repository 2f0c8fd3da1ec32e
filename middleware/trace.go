package middleware

import (
	"context"
	"errors"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/bento-outbox/watermill-outbox/internal/delivery"
	"github.com/bento-outbox/watermill-outbox/internal/event"
	"github.com/bento-outbox/watermill-outbox/internal/tracing"
)

// TraceConfig says where spans of handled messages go. The zero value makes none.
type TraceConfig struct {
	// TracerProvider makes the spans. Nil switches tracing off, whatever OpenTelemetry's global provider is; [otel.GetTracerProvider] returns that.
	//
	// [otel.GetTracerProvider]: https://pkg.go.dev/go.opentelemetry.io/otel#GetTracerProvider
	TracerProvider trace.TracerProvider
	// Propagator reads the trace context that a message carries in its metadata. Defaults to W3C: traceparent, tracestate and baggage.
	Propagator propagation.TextMapPropagator
}

// traceKey is the context key that says that the message's context is traced already.
type traceKey struct{}

// Trace makes a span of each message that is handled, below the one that its metadata carries; a message that carries none starts a trace of its
// own, or goes below the span in its context. Handlers find the span in the message's context. The messages that they return carry it on in
// their metadata.
//
// An error of the handler is the span's; payloads are never part of a span. Under the forwarder a failure that a middleware recorded and did not
// return counts too; what became of the event at its targets is in the spans that the forwarder makes itself. A Trace inside another makes a
// span below the other's.
//
// With PoisonQueue or Retry, a Trace outside of them makes one span of all tries, and one inside a span of each.
func Trace(cfg TraceConfig) message.HandlerMiddleware {
	if cfg.TracerProvider == nil {
		return func(next message.HandlerFunc) message.HandlerFunc { return next }
	}
	t := tracer{
		Tracer: cfg.TracerProvider.Tracer(tracing.Scope), propagator: tracing.Propagator(cfg.Propagator),
		options: []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
			tracing.System.String(tracing.Watermill), tracing.OperationName.String("process"), tracing.OperationType.String("process"))},
	}
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) { return t.handle(next, msg) }
	}
}

type tracer struct {
	trace.Tracer
	propagator propagation.TextMapPropagator
	options    []trace.SpanStartOption
}

var errPanicked = errors.New("the handler panicked")

func (t *tracer) handle(next message.HandlerFunc, msg *message.Message) (produced []*message.Message, err error) {
	before := msg.Context()
	ctx, span := t.start(before, msg)
	msg.SetContext(ctx)
	returned := false
	defer func() {
		msg.SetContext(before)
		failure := err
		if d := delivery.FromContext(before); err == nil && d != nil && d.Outcome().Kind == delivery.Failed {
			failure = d.Outcome().Err
		}
		if !returned {
			failure = errPanicked
		}
		tracing.End(span, failure)
	}()
	produced, err = next(msg)
	returned = true
	for _, m := range produced {
		if m.Metadata == nil {
			m.Metadata = make(message.Metadata, 2)
		}
		tracing.Inject(ctx, t.propagator, m.Metadata)
	}
	return produced, err
}

func (t *tracer) start(ctx context.Context, msg *message.Message) (context.Context, trace.Span) {
	if ctx.Value(traceKey{}) == nil {
		ctx, _ = tracing.Extract(ctx, t.propagator, msg.Metadata)
		ctx = context.WithValue(ctx, traceKey{}, true)
	}
	topic := tracing.Name(message.SubscribeTopicFromCtx(ctx))
	name := "process"
	if topic != "" {
		name += " " + topic
	}
	options := append(t.options[:len(t.options):len(t.options)], trace.WithAttributes(tracing.Destination.String(topic)))
	ctx, span := t.Start(ctx, name, options...)
	if span.IsRecording() {
		span.SetAttributes(tracing.MessageID.String(tracing.Text(msg.UUID)), tracing.BodySize.Int(len(msg.Payload)))
		if handler := message.HandlerNameFromCtx(ctx); handler != "" {
			span.SetAttributes(tracing.Handler.String(tracing.Name(handler)))
		}
		if id := msg.Metadata[event.KeyID]; id != "" {
			span.SetAttributes(tracing.OutboxID.String(tracing.Text(id)))
		}
		if d := delivery.FromContext(ctx); d != nil {
			span.SetAttributes(tracing.Attempt.Int(d.Attempt()))
		}
	}
	return ctx, span
}

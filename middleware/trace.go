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

// TraceConfig is where spans of handled messages go. The zero value makes none.
type TraceConfig struct {
	// TracerProvider makes the spans. Nil disables tracing, whatever OpenTelemetry's global provider is; [otel.GetTracerProvider] returns that one.
	//
	// [otel.GetTracerProvider]: https://pkg.go.dev/go.opentelemetry.io/otel#GetTracerProvider
	TracerProvider trace.TracerProvider
	// Propagator reads the trace context that a message carries in its metadata. Defaults to W3C: traceparent, tracestate and baggage.
	Propagator propagation.TextMapPropagator
}

// traceKey is the context key that marks a message's context as traced.
type traceKey struct{}

// Trace makes a span for each message that is handled. Its parent is the span in the message's metadata, else the one in its context, else the span
// starts a trace. Handlers find the span in the message's context, and the messages they return carry it in their metadata.
//
// The span records the handler's error and never a payload. Under the forwarder it also records a failure that a middleware recorded
// without returning it; the forwarder makes spans of its own for the targets of an event. A Trace inside another makes a child span.
//
// A Trace around PoisonQueue or Retry makes one span for all attempts; a Trace inside makes one for each.
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

// Package tracing has what spans of messages need, for middlewares and the forwarder alike: where a message carries its trace context, what
// attributes are called, and how a span ends. It knows the OpenTelemetry API only, never its SDK.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/bento-outbox/watermill-outbox/internal/redact"
)

// Scope is the name of the tracer.
const Scope = "github.com/bento-outbox/watermill-outbox"

// Attributes of the semantic conventions for messaging.
const (
	System        = attribute.Key("messaging.system")
	OperationName = attribute.Key("messaging.operation.name")
	OperationType = attribute.Key("messaging.operation.type")
	Destination   = attribute.Key("messaging.destination.name")
	MessageID     = attribute.Key("messaging.message.id")
	BodySize      = attribute.Key("messaging.message.body.size")
	BatchCount    = attribute.Key("messaging.batch.message_count")
	Group         = attribute.Key("messaging.consumer.group.name")
	ErrorType     = attribute.Key("error.type")
)

// Attributes of this project.
const (
	OutboxID          = attribute.Key("outbox.id")          // of the event, among all outboxes
	OutboxTopic       = attribute.Key("outbox.topic")       // that the application published to
	OutboxTenant      = attribute.Key("outbox.tenant")      // that the event belongs to
	OutboxTarget      = attribute.Key("outbox.target")      // name of the target
	OutboxDestination = attribute.Key("outbox.destination") // as the routing config names it
	Attempt           = attribute.Key("outbox.attempt")     // from 1
	Outcome           = attribute.Key("outbox.outcome")     // of the routing of an event
	Handler           = attribute.Key("watermill.handler")  // on the Router
)

// Watermill is the messaging.system: what the instrumented code talks to. It cannot know which broker is behind.
const Watermill = "watermill"

// Propagator returns p, or that of the W3C headers traceparent, tracestate and baggage when p is nil.
func Propagator(p propagation.TextMapPropagator) propagation.TextMapPropagator {
	if p != nil {
		return p
	}
	return propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
}

// Extract returns ctx with the trace context that m carries, and whether m carries one.
func Extract(ctx context.Context, p propagation.TextMapPropagator, m message.Metadata) (context.Context, bool) {
	// Without a span of its own, so that what is found there was in m.
	found := p.Extract(trace.ContextWithSpanContext(ctx, trace.SpanContext{}), propagation.MapCarrier(m))
	if !trace.SpanContextFromContext(found).IsValid() {
		return trace.ContextWithSpan(found, trace.SpanFromContext(ctx)), false // with the baggage
	}
	return found, true
}

// Inject writes the trace context of ctx to m, in place of any that is there. A ctx without one changes nothing but baggage.
func Inject(ctx context.Context, p propagation.TextMapPropagator, m message.Metadata) {
	if trace.SpanContextFromContext(ctx).IsValid() {
		delete(m, "tracestate") // that of another traceparent, which an empty one would not replace
	}
	p.Inject(ctx, propagation.MapCarrier(m))
}

// maxText bounds the text of an attribute or a status, in bytes.
const maxText = 2000

// Text is s as exporters can encode it: one invalid byte would lose them a whole batch.
func Text(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

// maxName bounds a name in a span, in bytes: backends index them, and events may make them up.
const maxName = 200

// Name is [Text] for the name of a span, a destination, a topic or a tenant.
func Name(s string) string {
	if len(s) > maxName {
		s = strings.ToValidUTF8(s[:maxName], "") + "..."
	}
	return Text(s)
}

// End ends span, as failed when err is not nil.
func End(span trace.Span, err error) {
	if err != nil {
		Fail(span, redact.Text(err.Error()), errorType(err))
	}
	span.End()
}

// Fail marks span as failed, with a text for people and a class for counting.
func Fail(span trace.Span, text, class string) {
	span.SetStatus(codes.Error, Text(text))
	span.SetAttributes(ErrorType.String(class))
}

// Other is the class of an error that has none.
const Other = "_OTHER"

// errorType names the kind of err: what it says itself, else the innermost type in its chain that says more than a text.
func errorType(err error) string {
	var own interface{ ErrorType() string }
	if errors.As(err, &own) && own.ErrorType() != "" {
		return Text(own.ErrorType())
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "timeout"
	}
	class := Other
	for ; err != nil; err = errors.Unwrap(err) {
		switch t := fmt.Sprintf("%T", err); {
		case strings.HasPrefix(t, "*errors."), strings.HasPrefix(t, "*fmt."):
		default:
			class = t
		}
	}
	return class
}

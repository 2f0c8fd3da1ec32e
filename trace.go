package outbox

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/bento-outbox/watermill-outbox/internal/tracing"
)

// capture stores the trace context of a message with its row: that of the message's own context, or when that has none, of the Publish call's.
func capture(call context.Context, p propagation.TextMapPropagator, msg, row *message.Message) {
	ctx := msg.Context()
	if !trace.SpanContextFromContext(ctx).IsValid() && trace.SpanContextFromContext(call).IsValid() {
		ctx = call
	}
	tracing.Inject(ctx, p, row.Metadata)
}

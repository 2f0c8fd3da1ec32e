package forwarder

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/tracing"
)

// tracer makes the spans of a forwarder. A forwarder that is not traced has none: whoever asks it looks for nil first, which is all that
// tracing costs when it is off.
//
// An event's spans hang below what was active when it was published: route, once for each time that the event is worked on, and publish below
// that, once for each attempt. A claim is about many events, and has a trace of its own.
type tracer struct {
	trace.Tracer
	propagator            propagation.TextMapPropagator
	claims                string // name of the spans
	claim, route, publish []trace.SpanStartOption
}

func newTracer(cfg Config, sub SubscriberConfig) *tracer {
	if cfg.TracerProvider == nil {
		return nil
	}
	table := sub.Schema.Names.Prefix
	if table == "" {
		table = "outbox"
	}
	options := func(kind trace.SpanKind, name, operation string, more ...attribute.KeyValue) []trace.SpanStartOption {
		return []trace.SpanStartOption{trace.WithSpanKind(kind), trace.WithAttributes(append(more, tracing.System.String(tracing.Watermill),
			tracing.OperationName.String(name), tracing.OperationType.String(operation))...)}
	}
	return &tracer{
		Tracer: cfg.TracerProvider.Tracer(tracing.Scope), propagator: tracing.Propagator(cfg.Propagator),
		claims:  "claim " + table,
		claim:   options(trace.SpanKindClient, "claim", "receive", tracing.Destination.String(table), tracing.Group.String(sub.Group)),
		route:   options(trace.SpanKindConsumer, "route", "process"),
		publish: options(trace.SpanKindProducer, "publish", "send"),
	}
}

// watching is h, and makes a span of each read that found something. Idle reads have none: there are hundreds a second.
func (t *tracer) watching(h Hooks) Hooks {
	read := h.Read
	h.Read = func(events int, took time.Duration) {
		read(events, took)
		if events == 0 {
			return
		}
		end := time.Now()
		_, span := t.Start(context.Background(), t.claims, with(t.claim, trace.WithTimestamp(end.Add(-took)),
			trace.WithAttributes(tracing.BatchCount.Int(events)))...)
		span.End(trace.WithTimestamp(end))
	}
	return h
}

// with appends to options that others use too.
func with(options []trace.SpanStartOption, more ...trace.SpanStartOption) []trace.SpanStartOption {
	return append(options[:len(options):len(options)], more...)
}

// begin starts the span of the routing of w, and puts it into the context of msg. Its parent is the span that a middleware of the Router has
// started, else what the event was stored with. An event that was stored with none gets a trace of its own: the span in the context that the
// application runs the forwarder with is about something else.
func (t *tracer) begin(w *work, msg *message.Message) trace.Span {
	ctx := msg.Context()
	options := with(t.route, trace.WithAttributes(tracing.Destination.String(tracing.Name(w.Event.Topic))))
	if trace.SpanContextFromContext(ctx).Equal(trace.SpanContextFromContext(w.ctx)) {
		var stored bool
		if ctx, stored = tracing.Extract(ctx, t.propagator, msg.Metadata); !stored {
			options = append(options, trace.WithNewRoot())
		}
	}
	ctx, span := t.Start(ctx, "route "+tracing.Name(w.Event.Topic), options...)
	msg.SetContext(ctx)
	if span.IsRecording() {
		span.SetAttributes(describe(w, msg)...)
		if w.Retry != nil {
			span.SetAttributes(tracing.OutboxTarget.String(tracing.Name(w.Retry.Target)))
		}
	}
	return span
}

// describe returns what tells one event from others, and one attempt from others of the event.
func describe(w *work, msg *message.Message) []attribute.KeyValue {
	list := make([]attribute.KeyValue, 0, 5)
	list = append(list, tracing.MessageID.String(tracing.Text(w.Event.ID)), tracing.OutboxID.String(msg.Metadata[outbox.KeyID]),
		tracing.Attempt.Int(w.Attempts()+1), tracing.BodySize.Int(len(msg.Payload)))
	if w.Event.TenantID != "" {
		list = append(list, tracing.OutboxTenant.String(tracing.Name(w.Event.TenantID)))
	}
	return list
}

// routed ends the span of the routing of w with what has become of it.
func (t *tracer) routed(span trace.Span, w *work) {
	if span.IsRecording() {
		outcome, text := w.summary()
		span.SetAttributes(tracing.Outcome.String(outcome))
		if text != "" {
			tracing.Fail(span, text, tracing.Other)
		}
	}
	span.End()
}

// attempt starts the span of an attempt to publish out, which carries it on in its metadata and in its context.
func (t *tracer) attempt(w *work, destination, topic, target string, out *message.Message) trace.Span {
	topic = tracing.Name(topic)
	ctx, span := t.Start(out.Context(), "publish "+topic, with(t.publish, trace.WithAttributes(tracing.Destination.String(topic)))...)
	out.SetContext(ctx)
	tracing.Inject(ctx, t.propagator, out.Metadata)
	if span.IsRecording() {
		span.SetAttributes(describe(w, out)...)
		span.SetAttributes(tracing.OutboxTopic.String(tracing.Name(w.Event.Topic)),
			tracing.OutboxDestination.String(tracing.Name(destination)), tracing.OutboxTarget.String(tracing.Name(target)))
	}
	return span
}

// summary says in a word what has become of a unit so far, of several targets the worst, and why when that was a failure.
func (w *work) summary() (outcome, failure string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	const undecided = "undecided"
	if w.sealed || len(w.results) == 0 {
		return undecided, ""
	}
	worst := -1
	for _, r := range w.results {
		rank, name, text := 0, "delivered", ""
		switch {
		case r.state == store.Dead:
			rank, name, text = 6, "dead", r.err
		case r.fellBack:
			rank, name, text = 5, "fallback", r.err
		case r.untried:
			rank, name = 3, undecided
		case r.state == store.Waiting && r.err != "":
			rank, name, text = 4, "retry", r.err
		case r.state == store.Held:
			rank, name = 3, "held"
		case r.state == store.Waiting:
			rank, name = 2, "delayed"
		case r.state == store.Skipped:
			rank, name = 1, "skipped"
		}
		if rank > worst {
			worst, outcome, failure = rank, name, text
		}
	}
	return outcome, failure
}

package tracing_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	wm "github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/router"
)

// A request publishes in its transaction, another process forwards, a third one consumes: one trace, each span below what caused it.
func TestOneTraceFromTheRequestToTheConsumer(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		all := newSpans()
		broker := gochannel.NewGoChannel(gochannel.Config{Persistent: true}, nil)
		defer broker.Close()
		member, err := baggage.NewMember("shop", "berlin")
		require.NoError(t, err)
		bag, err := baggage.New(member)
		require.NoError(t, err)

		requests := map[string]trace.SpanContext{}
		var events []*message.Message
		for _, name := range []string{"POST /orders", "POST /refunds"} {
			ctx, span := all.start(baggage.ContextWithBaggage(t.Context(), bag), name)
			state, err := trace.ParseTraceState("vendor=" + strings.ToLower(name[6:]))
			require.NoError(t, err)
			requests[name] = span.SpanContext().WithTraceState(state)
			m := event(trace.ContextWithSpanContext(ctx, requests[name]), `{}`)
			m.UUID = name
			outbox.SetTenant(m, "acme")
			events = append(events, m)
			span.End()
		}
		publish(t, db, "orders", events...)
		require.Empty(t, events[0].Metadata["traceparent"], "the application's message was modified")
		drain(t, db, forwarder.Config{TracerProvider: all.provider}, broker)

		consumer, err := message.NewRouter(message.RouterConfig{}, nil)
		require.NoError(t, err)
		consumer.AddMiddleware(middleware.Trace(middleware.TraceConfig{TracerProvider: all.provider}))
		consumer.AddConsumerHandler("mail", "orders", broker, func(m *message.Message) error {
			_, span := all.start(m.Context(), "send mail for "+m.UUID)
			span.SetName("send mail for " + m.UUID + " of " + baggage.FromContext(m.Context()).Member("shop").Value())
			span.End()
			return nil
		})
		go func() { _ = consumer.Run(t.Context()) }()
		all.eventually(t, "consumed", func() bool { return len(all.named("process orders")) == 2 })
		require.NoError(t, consumer.Close())

		claim := all.one(t, "claim outbox")
		require.False(t, claim.Parent.IsValid())
		require.Equal(t, trace.SpanKindClient, claim.SpanKind)
		require.Equal(t, map[string]any{
			"messaging.system": "watermill", "messaging.operation.name": "claim", "messaging.operation.type": "receive",
			"messaging.destination.name": "outbox", "messaging.consumer.group.name": "default", "messaging.batch.message_count": int64(2),
		}, attributes(claim))
		require.False(t, claim.EndTime.Before(claim.StartTime))

		find := func(name, uuid string) tracetest.SpanStub {
			found := slices.DeleteFunc(all.named(name), func(s tracetest.SpanStub) bool { return value(s, "messaging.message.id") != uuid })
			require.Len(t, found, 1, name)
			return found[0]
		}
		for name, request := range requests {
			route, attempt, process := find("route orders", name), find("publish orders", name), find("process orders", name)
			below(t, route, request)
			below(t, attempt, route.SpanContext)
			below(t, process, attempt.SpanContext)
			below(t, all.one(t, "send mail for "+name+" of berlin"), process.SpanContext)
			require.Equal(t, request.TraceState().String(), process.SpanContext.TraceState().String())
			require.Equal(t, []trace.SpanKind{trace.SpanKindConsumer, trace.SpanKindProducer, trace.SpanKindConsumer},
				[]trace.SpanKind{route.SpanKind, attempt.SpanKind, process.SpanKind})

			id := value(route, "outbox.id")
			require.NotEmpty(t, id)
			require.Equal(t, map[string]any{
				"messaging.system": "watermill", "messaging.operation.name": "route", "messaging.operation.type": "process",
				"messaging.destination.name": "orders", "messaging.message.id": name, "messaging.message.body.size": int64(2),
				"outbox.id": id, "outbox.tenant": "acme", "outbox.attempt": int64(1), "outbox.outcome": "delivered",
			}, attributes(route))
			require.Equal(t, map[string]any{
				"messaging.system": "watermill", "messaging.operation.name": "publish", "messaging.operation.type": "send",
				"messaging.destination.name": "orders", "messaging.message.id": name, "messaging.message.body.size": int64(2),
				"outbox.id": id, "outbox.tenant": "acme", "outbox.attempt": int64(1), "outbox.topic": "orders",
				"outbox.destination": "orders", "outbox.target": value(attempt, "outbox.target"),
			}, attributes(attempt))
			require.Equal(t, map[string]any{
				"messaging.system": "watermill", "messaging.operation.name": "process", "messaging.operation.type": "process",
				"messaging.destination.name": "orders", "messaging.message.id": name, "messaging.message.body.size": int64(2),
				"outbox.id": id, "watermill.handler": "mail",
			}, attributes(process))
		}
	})
}

// Each target of an event gets a span, each attempt another, and the message the span of the attempt that got through.
func TestEachAttemptIsASpan(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		all := newSpans()
		ctx, request := all.start(t.Context(), "request")
		m := event(ctx, `{"secret":"hunter2"}`)
		outbox.SetRoutingConfig(m, []byte(`{"version":1,"targets":[{"destination":"good"},{"destination":"broker://bad","retry_policy":"quick"}]}`), "1")
		table, err := router.NewTable(router.Config{Policies: map[string]middleware.RetryPolicy{
			"quick": {MaxAttempts: 3, InitialInterval: time.Millisecond, Multiplier: 1},
		}})
		require.NoError(t, err)
		within(t, db, outbox.Config{Propagator: w3c, Routes: table}, func(p *outbox.Publisher) error { return p.Publish("orders", m) })
		request.End()
		left := failures(1, fmt.Errorf("broker: %w", &net{}))
		to := &sink{fail: func(m *message.Message) error {
			if m.Metadata[outbox.KeyTarget] != "broker://bad" {
				return nil
			}
			return left(m)
		}}
		wait, cancel := context.WithTimeout(t.Context(), await.Patience)
		defer cancel()
		f, err := forwarder.New(db, map[string]message.Publisher{"broker": to}, forwarder.Config{TracerProvider: all.provider, Routes: table}, nil)
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() { ended <- f.Run(wait) }()
		all.eventually(t, "published twice to bad", func() bool { return len(all.named("publish bad")) == 2 && len(all.named("route orders")) == 2 })
		require.NoError(t, f.Close())
		require.NoError(t, <-ended)

		routes := all.named("route orders")
		below(t, routes[0], request.SpanContext())
		below(t, routes[1], request.SpanContext())
		require.Equal(t, "retry", value(routes[0], "outbox.outcome"))
		require.Equal(t, codes.Error, routes[0].Status.Code)
		require.Equal(t, "delivered", value(routes[1], "outbox.outcome"))
		require.Equal(t, codes.Unset, routes[1].Status.Code)
		require.Equal(t, "broker://bad", value(routes[1], "outbox.target"))
		below(t, all.one(t, "publish good"), routes[0].SpanContext)
		bad := all.named("publish bad")
		for i, want := range []struct {
			code  codes.Code
			text  string
			class any
		}{{codes.Error, "broker: no route to host", "*tracing_test.net"}, {codes.Unset, "", nil}} {
			below(t, bad[i], routes[i].SpanContext)
			require.Equal(t, int64(i+1), value(bad[i], "outbox.attempt"))
			require.Equal(t, "broker://bad", value(bad[i], "outbox.destination"))
			require.Equal(t, want.code, bad[i].Status.Code)
			require.Equal(t, want.text, bad[i].Status.Description)
			require.Equal(t, want.class, value(bad[i], "error.type"))
		}
		require.Len(t, to.got, 2)
		require.Equal(t, bad[1].SpanContext.SpanID(), carried(to.got[1].Metadata).SpanID())
		require.NotContains(t, fmt.Sprint(all.GetSpans()), "hunter2")
	})
}

// net is an error of a driver.
type net struct{}

func (*net) Error() string { return "no route to host" }

func TestUnsampledStaysUnsampled(t *testing.T) {
	t.Parallel()
	all := newSpans()
	db, to := testdb.SQLite(t), &sink{}
	unsampled := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	publish(t, db, "orders", event(trace.ContextWithSpanContext(t.Context(), unsampled), `{}`))
	drain(t, db, forwarder.Config{TracerProvider: all.provider}, to)
	require.Equal(t, []string{"claim outbox"}, all.names())
	require.Len(t, to.got, 1)
	got := carried(to.got[0].Metadata)
	require.Equal(t, unsampled.TraceID(), got.TraceID())
	require.False(t, got.IsSampled())
}

// The forwarder runs under a span of the application's start: events are not about that.
func TestAnEventWithoutContextHasATraceOfItsOwn(t *testing.T) {
	t.Parallel()
	all := newSpans()
	db, to := testdb.SQLite(t), &sink{}
	within(t, db, outbox.Config{}, func(p *outbox.Publisher) error {
		ctx, _ := all.start(t.Context(), "not stored")
		return p.Publish("orders", event(ctx, `1`), event(ctx, `2`))
	})
	ctx, cancel := context.WithTimeout(t.Context(), await.Patience)
	defer cancel()
	ctx, starting := all.start(ctx, "starting")
	drainWithin(ctx, t, db, forwarder.Config{TracerProvider: all.provider}, to)
	starting.End()
	routes, attempts := all.named("route orders"), all.named("publish orders")
	require.Len(t, routes, 2)
	require.Len(t, attempts, 2)
	traces := map[trace.TraceID]bool{starting.SpanContext().TraceID(): true, all.one(t, "claim outbox").SpanContext.TraceID(): true}
	for i, route := range routes {
		require.False(t, route.Parent.IsValid())
		traces[route.SpanContext.TraceID()] = true
		require.Contains(t, traces, attempts[i].SpanContext.TraceID())
		require.True(t, carried(to.got[i].Metadata).IsValid())
	}
	require.Len(t, traces, 4)
}

// Off, a forwarder passes on what was stored.
func TestOffPassesOnWhatWasStored(t *testing.T) {
	t.Parallel()
	all := newSpans()
	db, to := testdb.SQLite(t), &sink{}
	ctx, request := all.start(t.Context(), "request")
	publish(t, db, "orders", event(ctx, `{}`))
	drain(t, db, forwarder.Config{Propagator: w3c}, to)
	require.Len(t, to.got, 1)
	require.Equal(t, request.SpanContext().SpanID(), carried(to.got[0].Metadata).SpanID())
	require.Empty(t, all.GetSpans())
}

func TestReadsThatFindNothingHaveNoSpan(t *testing.T) {
	t.Parallel()
	all := newSpans()
	var reads atomic.Int64
	hooks := forwarder.Hooks{Read: func(int, time.Duration) { reads.Add(1) }}
	cfg := forwarder.Config{TracerProvider: all.provider, Subscriber: forwarder.SubscriberConfig{Hooks: hooks}}
	drain(t, testdb.SQLite(t), cfg, &sink{})
	require.Positive(t, reads.Load())
	require.Empty(t, all.names())
}

// Messages of one call have a context each; PublishContext has one for those without.
func TestEachMessageIsStoredWithItsOwnContext(t *testing.T) {
	t.Parallel()
	all := newSpans()
	db, to := testdb.SQLite(t), &sink{}
	a, spanA := all.start(t.Context(), "a")
	b, spanB := all.start(t.Context(), "b")
	foreign := event(b, `2`)
	foreign.Metadata.Set("traceparent", "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01")
	foreign.Metadata.Set("tracestate", "of=another")
	passed := event(context.Background(), `3`)
	passed.Metadata.Set("traceparent", "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01")
	passed.Metadata.Set("tracestate", "of=this")
	publish(t, db, "orders", event(a, `1`), foreign, passed, event(context.Background(), `4`))
	within(t, db, outbox.Config{Propagator: w3c}, func(p *outbox.Publisher) error {
		return p.PublishContext(a, "orders", event(b, `5`), event(context.Background(), `6`))
	})
	drain(t, db, forwarder.Config{}, to)
	got := map[string]message.Metadata{}
	for _, m := range to.got {
		got[string(m.Payload)] = m.Metadata
	}
	require.Len(t, got, 6)
	for payload, want := range map[string]trace.Span{"1": spanA, "2": spanB, "5": spanB, "6": spanA} {
		require.Equal(t, want.SpanContext().SpanID(), carried(got[payload]).SpanID(), payload)
		require.NotContains(t, got[payload], "tracestate")
	}
	require.Equal(t, "of=this", carried(got["3"]).TraceState().String())
	require.NotContains(t, got["4"], "traceparent")
}

// What fails before anything is published is seen on the span of the routing; what is dead is published once more, to the poison destination.
func TestDeadEvents(t *testing.T) {
	t.Parallel()
	all := newSpans()
	db, to := testdb.SQLite(t), &sink{}
	ctx, request := all.start(t.Context(), "request")
	unknown := event(ctx, `{}`)
	outbox.SetRoutingKey(unknown, "nowhere://x")
	publish(t, db, "orders", unknown)
	drain(t, db, forwarder.Config{TracerProvider: all.provider, PoisonDestination: "poison"}, to)
	route := all.one(t, "route orders")
	below(t, route, request.SpanContext())
	require.Equal(t, "dead", value(route, "outbox.outcome"))
	require.Equal(t, codes.Error, route.Status.Code)
	require.Contains(t, route.Status.Description, "unknown destination")
	poisoned := all.one(t, "publish poison")
	below(t, poisoned, route.SpanContext)
	require.Len(t, to.got, 1)
	require.Equal(t, poisoned.SpanContext.SpanID(), carried(to.got[0].Metadata).SpanID())
}

// The poison destination's span hangs below the routing, not below the attempt that failed, and ends when its publisher panics.
func TestPoisonAfterAFailedAttempt(t *testing.T) {
	t.Parallel()
	all := newSpans()
	db, to := testdb.SQLite(t), &sink{}
	to.fail = func(m *message.Message) error {
		if m.Metadata.Get(wm.ReasonForPoisonedKey) != "" {
			panic("out of reach")
		}
		return middleware.Permanent(errors.New("refused"))
	}
	publish(t, db, "orders", event(t.Context(), `{}`))
	drain(t, db, forwarder.Config{TracerProvider: all.provider, PoisonDestination: "poison"}, to)
	route := all.one(t, "route orders")
	for _, name := range []string{"publish orders", "publish poison"} {
		span := all.one(t, name)
		below(t, span, route.SpanContext)
		require.Equal(t, codes.Error, span.Status.Code, name)
	}
	require.Contains(t, all.one(t, "publish poison").Status.Description, "panicked")
}

func TestOutcomesOfAnEvent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config, outcome string
		fail            error
	}{
		"skipped":  {config: `{"version":1,"targets":[{"destination":"a","conditions":{"payload.n":2}}]}`, outcome: "skipped"},
		"delayed":  {config: `{"version":1,"targets":[{"destination":"a","delay_seconds":3600},{"destination":"b"}]}`, outcome: "delayed"},
		"fallback": {config: `{"version":1,"fallback":"b","targets":[{"destination":"nowhere://a"}]}`, outcome: "fallback"},
		"panic":    {config: `{"version":1,"targets":[{"destination":"a"}]}`, outcome: "retry", fail: errPanic},
		"text":     {config: `{"version":1,"targets":[{"destination":"a"}]}`, outcome: "retry", fail: errors.New("no \xff UTF-8")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := newSpans()
			db, to := testdb.SQLite(t), &sink{}
			if c.fail != nil {
				to.fail = func(*message.Message) error {
					if errors.Is(c.fail, errPanic) {
						panic("out of reach")
					}
					return c.fail
				}
			}
			m := event(t.Context(), `{"n":1}`)
			outbox.SetRoutingConfig(m, []byte(c.config), "1")
			publish(t, db, "orders", m)
			drain(t, db, forwarder.Config{TracerProvider: all.provider}, to)
			require.NotEmpty(t, all.named("route orders"))
			require.Equal(t, c.outcome, value(all.named("route orders")[0], "outbox.outcome"))
			for _, span := range all.named("publish a") {
				if c.fail != nil {
					require.Equal(t, codes.Error, span.Status.Code)
					require.Equal(t, strings.ToValidUTF8(span.Status.Description, ""), span.Status.Description)
				}
			}
		})
	}
}

var errPanic = errors.New("panic")

// On a Router with the Trace middleware the routing hangs below the middleware's span.
func TestTraceAroundTheForwarder(t *testing.T) {
	t.Parallel()
	all := newSpans()
	db, to := testdb.SQLite(t), &sink{}
	ctx, request := all.start(t.Context(), "request")
	publish(t, db, "orders", event(ctx, `{}`))
	f, err := forwarder.New(db, map[string]message.Publisher{"broker": to}, forwarder.Config{TracerProvider: all.provider}, nil)
	require.NoError(t, err)
	r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	require.NoError(t, err)
	f.AddTo(r).AddMiddleware(middleware.Trace(middleware.TraceConfig{TracerProvider: all.provider}))
	go func() { _ = r.Run(t.Context()) }()
	all.eventually(t, "forwarded", func() bool { return len(all.named("process **")) == 1 })
	require.NoError(t, r.Close())
	process := all.one(t, "process **")
	below(t, process, request.SpanContext())
	below(t, all.one(t, "route orders"), process.SpanContext)
	require.Equal(t, int64(1), value(process, "outbox.attempt"))
}

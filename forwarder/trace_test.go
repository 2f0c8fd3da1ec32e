package forwarder

import (
	"context"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/bento-outbox/watermill-outbox/internal/engine"
	"github.com/bento-outbox/watermill-outbox/internal/store"
)

type nowhere struct{}

func (nowhere) Publish(string, ...*message.Message) error { return nil }
func (nowhere) Close() error                              { return nil }

// Off, an attempt to publish allocates nothing for tracing; on it does, even when the spans go nowhere.
func TestTracingIsFreeWhenItIsOff(t *testing.T) {
	allocations := func(cfg Config) float64 {
		f := &Forwarder{group: &group{logger: watermill.NopLogger{}}, tracer: newTracer(cfg, cfg.Subscriber)}
		w := newWork(context.Background(), &engine.Unit{Event: store.Event{ID: "1", Topic: "orders"}}, engine.Permit{})
		msg := message.NewMessage("1", []byte(`{}`))
		j := job{target: target{name: "x", destination: "x"}, topic: "x", publisher: &publisher{Publisher: nowhere{}}}
		return testing.AllocsPerRun(100, func() {
			if err := f.call(w, &j, msg); err != nil {
				t.Error(err)
			}
		})
	}
	require.LessOrEqual(t, allocations(Config{}), 1.0) // the variadic argument of the publisher
	require.Greater(t, allocations(Config{TracerProvider: noop.NewTracerProvider()}), 3.0)
	require.Nil(t, newTracer(Config{}, SubscriberConfig{}))
}

package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/delivery"
	"github.com/bento-outbox/watermill-outbox/internal/event"
	"github.com/bento-outbox/watermill-outbox/internal/rules"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

// sampler reports which events the half is that a sample for target takes.
func sampler(target, key string) func(*event.Event) bool {
	var c rules.Compiler
	sample := c.Sampler(0.5, target, key, "")
	return func(e *event.Event) bool {
		s := rules.Open(e)
		defer s.Close()
		hit, err := sample.Hit(s)
		return hit && err == nil
	}
}

func TestSampleFaults(t *testing.T) {
	t.Parallel()
	for _, cfg := range []middleware.SampleConfig{{Rate: -0.1}, {Rate: 1.1}, {Rate: math.NaN()}, {Rate: 1, Key: "customer"}} {
		if _, err := middleware.Sample(cfg); !errors.Is(err, middleware.ErrInvalid) {
			t.Errorf("%+v: error is %v", cfg, err)
		}
	}
}

func TestSampleMiddleware(t *testing.T) {
	t.Parallel()
	mw, err := middleware.Sample(middleware.SampleConfig{Rate: 0.5, Target: "t"})
	if err != nil {
		t.Fatal(err)
	}
	s := sampler("t", "")
	for i := range 20 {
		id := fmt.Sprint(i)
		want := s(&event.Event{ID: id})
		if handled, err := handle(t, mw, message.NewMessage(id, nil)); handled != want || err != nil {
			t.Errorf("%s: handled %v, %v", id, handled, err)
		}
		msg, d := message.NewMessage(id, nil), delivery.New(1, time.Now())
		msg.SetContext(delivery.NewContext(context.Background(), d))
		handled, err := handle(t, mw, msg)
		if o := d.Outcome(); err != nil || handled != want || !want && (o.Kind != delivery.Skipped || o.Reason != "sampling") {
			t.Errorf("%s: handled %v, %v, %+v", id, handled, err, o)
		}
	}
}

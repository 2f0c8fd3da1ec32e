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
	"github.com/bento-outbox/watermill-outbox/middleware"
)

func sampler(t *testing.T, cfg middleware.SampleConfig) *middleware.Sampler {
	t.Helper()
	s, err := middleware.NewSampler(cfg, "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The answers are kept for good: changing them would sample other events after an upgrade. The numbers were computed by an
// implementation in another language.
func TestSampleVectors(t *testing.T) {
	t.Parallel()
	for id, at := range map[string]float64{
		"":                                     0.545222965328,
		"0":                                    0.934565572053,
		"1":                                    0.541000481711,
		"6":                                    0.123402231559,
		"5f0c3b3e-6f0e-4a53-9d6e-0d8f3a1c2b4d": 0.685062159868,
		"é":                                    0.588519886462,
	} {
		below := sampler(t, middleware.SampleConfig{Rate: at - 1e-9, Target: "analytics.events"})
		above := sampler(t, middleware.SampleConfig{Rate: at + 1e-9, Target: "analytics.events"})
		e := &middleware.Event{ID: id}
		if hit, err := below.Hit(e); hit || err != nil {
			t.Errorf("%q is in the sample below %v, %v", id, at, err)
		}
		if hit, err := above.Hit(e); !hit || err != nil {
			t.Errorf("%q is not in the sample above %v, %v", id, at, err)
		}
	}
}

func TestSampleShares(t *testing.T) {
	t.Parallel()
	const n = 100_000
	for _, rate := range []float64{0, 1e-5, 0.1, 0.5, 0.999, 1} {
		a, b := sampler(t, middleware.SampleConfig{Rate: rate, Target: "a"}), sampler(t, middleware.SampleConfig{Rate: rate, Target: "b"})
		hits, both := 0.0, 0.0
		for i := range n {
			e := &middleware.Event{ID: fmt.Sprintf("event-%d", i)}
			x, _ := a.Hit(e)
			y, _ := b.Hit(e)
			if x {
				hits++
			}
			if x && y {
				both++
			}
		}
		spread := 5*math.Sqrt(n*rate*(1-rate)) + 1
		if rate == 0 || rate == 1 {
			spread = 0
		}
		if math.Abs(hits-n*rate) > spread {
			t.Errorf("rate %v takes %v of %d", rate, hits, n)
		}
		if math.Abs(both-n*rate*rate) > spread {
			t.Errorf("rate %v: two targets take %v of %d together", rate, both, n)
		}
	}
}

func TestSampleKey(t *testing.T) {
	t.Parallel()
	s := sampler(t, middleware.SampleConfig{Rate: 0.5, Target: "t", Key: "payload.customer.id"})
	taken := 0
	for customer := range 200 {
		var first bool
		for i := range 5 {
			id := fmt.Sprintf("%d-%d", customer, i)
			hit, err := s.Hit(&middleware.Event{ID: id, Payload: fmt.Appendf(nil, `{"n":%d,"customer":{"id":"c-%d"}}`, i, customer)})
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				first = hit
			}
			if hit != first {
				t.Fatalf("customer %d is split", customer)
			}
		}
		if first {
			taken++
		}
	}
	if taken < 60 || taken > 140 {
		t.Errorf("%d of 200 customers are taken", taken)
	}
	byID := sampler(t, middleware.SampleConfig{Rate: 0.5, Target: "t"})
	for i := range 50 {
		e := &middleware.Event{ID: fmt.Sprint(i), Payload: []byte(`{"customer":{"id":null}}`)}
		x, _ := s.Hit(e)
		if y, _ := byID.Hit(e); x != y {
			t.Fatal("an event without the key is not sampled by its id")
		}
	}
	if _, err := s.Hit(&middleware.Event{Payload: []byte(`{"customer"`)}); !middleware.IsPermanent(err) {
		t.Errorf("error is %v", err)
	}
	tenant := sampler(t, middleware.SampleConfig{Rate: 0.5, Target: "t", Key: "tenant_id"})
	x, _ := tenant.Hit(&middleware.Event{ID: "1", TenantID: "acme"})
	y, _ := tenant.Hit(&middleware.Event{ID: "2", TenantID: "acme"})
	z, _ := byID.Hit(&middleware.Event{ID: "acme"})
	if x != y || x != z {
		t.Error("a tenant is split")
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
	s := sampler(t, middleware.SampleConfig{Rate: 0.5, Target: "t"})
	for i := range 20 {
		id := fmt.Sprint(i)
		want, _ := s.Hit(&middleware.Event{ID: id})
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

package rules_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/bento-outbox/watermill-outbox/internal/event"
	"github.com/bento-outbox/watermill-outbox/internal/fault"
)

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
		below := sampler(t, at-1e-9, "analytics.events", "")
		above := sampler(t, at+1e-9, "analytics.events", "")
		e := &event.Event{ID: id}
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
		a, b := sampler(t, rate, "a", ""), sampler(t, rate, "b", "")
		hits, both := 0.0, 0.0
		for i := range n {
			e := &event.Event{ID: fmt.Sprintf("event-%d", i)}
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
	s := sampler(t, 0.5, "t", "payload.customer.id")
	taken := 0
	for customer := range 200 {
		var first bool
		for i := range 5 {
			id := fmt.Sprintf("%d-%d", customer, i)
			hit, err := s.Hit(&event.Event{ID: id, Payload: fmt.Appendf(nil, `{"n":%d,"customer":{"id":"c-%d"}}`, i, customer)})
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
	byID := sampler(t, 0.5, "t", "")
	for i := range 50 {
		e := &event.Event{ID: fmt.Sprint(i), Payload: []byte(`{"customer":{"id":null}}`)}
		x, _ := s.Hit(e)
		if y, _ := byID.Hit(e); x != y {
			t.Fatal("an event without the key is not sampled by its id")
		}
	}
	if _, err := s.Hit(&event.Event{Payload: []byte(`{"customer"`)}); !fault.IsPermanent(err) {
		t.Errorf("error is %v", err)
	}
	tenant := sampler(t, 0.5, "t", "tenant_id")
	x, _ := tenant.Hit(&event.Event{ID: "1", TenantID: "acme"})
	y, _ := tenant.Hit(&event.Event{ID: "2", TenantID: "acme"})
	z, _ := byID.Hit(&event.Event{ID: "acme"})
	if x != y || x != z {
		t.Error("a tenant is split")
	}
}

package main

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/router"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	a1, a2, a3, b1, free := arrival{"a1", "1"}, arrival{"a2", "2"}, arrival{"a3", "3"}, arrival{"b1", "1"}, arrival{"a0", "0"}
	rolledBack, changed := arrival{"r", "2"}, arrival{"a2", "two"}
	expected := []delivery{{"b1", "b", 3, "1"}, {"a3", "a", 4, "3"}, {"a1", "a", 1, "1"}, {"a2", "a", 2, "2"}, {"a0", "", 0, "0"}}

	cases := map[string]struct {
		received []arrival
		want     result
	}{
		"all in order":          {[]arrival{free, a1, a2, b1, a3}, result{}},
		"customers interleaved": {[]arrival{free, b1, a1, a2, a3}, result{}},
		"delayed is last":       {[]arrival{a1, a2, b1, a3, free}, result{}},
		"nothing":               {nil, result{lost: 5}},
		"one lost":              {[]arrival{free, a1, a3, b1}, result{lost: 1}},
		"one twice":             {[]arrival{free, a1, a2, a2, a3, b1}, result{duplicated: 1}},
		"one twice, late":       {[]arrival{free, a1, a2, a3, b1, a1}, result{duplicated: 1}},
		"delayed one twice":     {[]arrival{free, a1, a2, a3, b1, free}, result{duplicated: 1}},
		"two swapped":           {[]arrival{free, a1, a3, a2, b1}, result{outOfOrder: 1}},
		"all reversed":          {[]arrival{free, a3, a2, a1, b1}, result{outOfOrder: 2}},
		"rolled back":           {[]arrival{free, a1, rolledBack, a2, a3, b1}, result{duplicated: 1}},
		"another payload":       {[]arrival{free, a1, changed, a3, b1}, result{lost: 1, duplicated: 1}},
		"everything at once":    {[]arrival{free, a2, a1, a1, b1}, result{lost: 1, duplicated: 1, outOfOrder: 1}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.want.expected, c.want.received = len(expected), len(c.received)
			require.Equal(t, c.want, check(expected, c.received))
		})
	}
}

// TestExpectation says for single events what the routes make of them.
func TestExpectation(t *testing.T) {
	t.Parallel()
	routes, err := newRoutes()
	require.NoError(t, err)
	config, err := productRouting()
	require.NoError(t, err)
	product := func(price float64, visible bool) router.Event {
		return router.Event{
			ID: "1", Topic: "products.sold", AggregateID: "c", RoutingConfig: string(config),
			Payload: fmt.Appendf(nil, `{"id":"o","customer":"c","name":"n","price":%v,"visible":%v}`, price, visible),
		}
	}
	vip := func(price float64) []delivery {
		return []delivery{{"1", "c", 7, fmt.Sprintf(`{"id":"o","name":"n","price":%v}`, price)}}
	}
	as := func(e router.Event, key string) []delivery { return []delivery{{e.ID, key, 7, string(e.Payload)}} }
	cheap, dear, hiddenDear, hidden := product(10, true), product(1000.5, true), product(2000, false), product(1000, false)
	audit := router.Event{ID: "1", Topic: "audit", AggregateID: "c"}
	express, slow := router.Event{ID: "1", Topic: "courier", AggregateID: "c", Payload: []byte(`{"express":true}`)}, router.Event{ID: "1", Topic: "courier", Payload: []byte(`{}`)}
	bad := router.Event{ID: "1", Topic: "courier", AggregateID: "c", Payload: []byte(`Express!`)}
	hit, miss := router.Event{ID: "1", Topic: "orders.placed", AggregateID: "c"}, router.Event{ID: "2", Topic: "orders.placed", AggregateID: "c"}
	for i := 0; !sampled(routes, &hit); i++ {
		hit.ID = fmt.Sprint(i)
	}
	for i := 0; sampled(routes, &miss); i++ {
		miss.ID = fmt.Sprint(i)
	}

	cases := map[string]struct {
		event router.Event
		want  expectation
	}{
		"visible": {cheap, expectation{deliveries: map[string][]delivery{"kafka://search.index": as(cheap, "c")}}},
		"visible and dear": {dear, expectation{deliveries: map[string][]delivery{
			"kafka://search.index": as(dear, "c"), "redis://vip.notifications": vip(1000.5)}}},
		"dear":          {hiddenDear, expectation{deliveries: map[string][]delivery{"redis://vip.notifications": vip(2000)}}},
		"neither":       {hidden, expectation{deliveries: map[string][]delivery{"kafka://other.products": as(hidden, "c")}}},
		"no route":      {audit, expectation{deliveries: map[string][]delivery{"audit": as(audit, "c")}}},
		"express":       {express, expectation{deliveries: map[string][]delivery{"webhook://courier": as(express, "c")}}},
		"not express":   {slow, expectation{skipped: 1}},
		"poisoned":      {bad, expectation{dead: 1, deliveries: map[string][]delivery{poison: {{"1", "", 0, "Express!"}}}}},
		"in sample":     {hit, expectation{deliveries: map[string][]delivery{"kafka://orders": as(hit, "c"), "analytics.events": as(hit, "c"), "redis://reviews": as(hit, "")}}},
		"not in sample": {miss, expectation{deliveries: map[string][]delivery{"kafka://orders": as(miss, "c"), "redis://reviews": as(miss, "")}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := expectation{deliveries: map[string][]delivery{}}
			got.add(&event{c.event, 7}, router.Explain(routes, &c.event, nil))
			if c.want.deliveries == nil {
				c.want.deliveries = map[string][]delivery{}
			}
			require.Equal(t, c.want, got)
		})
	}
}

func sampled(routes *router.Table, e *router.Event) bool {
	for _, d := range router.Explain(routes, e, nil).Deliveries {
		if d.Destination == "analytics.events" {
			return d.Reason == router.Matched
		}
	}
	return false
}

func TestOnlyAFlawlessReportIsOK(t *testing.T) {
	t.Parallel()
	flawless := report{Dead: 1, expectedDead: 1, Skipped: 2, expectedSkipped: 2}
	require.Zero(t, exitStatus(&flawless))
	for name, spoil := range map[string]func(r *report){
		"lost":                  func(r *report) { r.Lost = 1 },
		"duplicated":            func(r *report) { r.Duplicated = 1 },
		"out of order":          func(r *report) { r.OutOfOrder = 1 },
		"unfinished":            func(r *report) { r.unfinished = 1 },
		"one more skipped":      func(r *report) { r.Skipped++ },
		"one less skipped":      func(r *report) { r.Skipped-- },
		"one more dead":         func(r *report) { r.Dead++ },
		"poisoned one not dead": func(r *report) { r.Dead-- },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := flawless
			spoil(&r)
			require.Equal(t, 1, exitStatus(&r))
		})
	}
}

package router_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/router"
)

const payload300 = `{"id":"5f0c3b3e-6f0e-4a53-9d6e-0d8f3a1c2b4d","type":"product.updated","name":"Mechanical keyboard, 87 keys","price":1249.90,"currency":"EUR","visible":true,"stock":42,"tags":["new","sale"],"customer":{"id":"c-1001","tier":"gold","country":"DE"},"note":"no remark"}`

// BenchmarkRoute resolves and decides one event of 300 bytes for 3 targets with 2 conditions each, of which one matches.
func BenchmarkRoute(b *testing.B) {
	large := `{"items":[` + strings.Repeat(`{"id":12345,"name":"a name of some length","price":99.50},`, 350) + payload300 + `],` + payload300[1:]
	for _, c := range []struct{ name, targets, payload string }{
		{"scalars", `{"destination":"a","conditions":{"payload.visible":false,"payload.stock":{"$gt":1}}},
			{"destination":"b","conditions":{"payload.type":"product.updated","payload.stock":{"$gte":42}}},
			{"destination":"c","conditions":{"payload.currency":"EUR","payload.stock":{"$lt":42}}}`, payload300},
		{"arrays and decimals", `{"destination":"a","conditions":{"payload.tags":"sale","payload.price":{"$lt":1249.90}}},
			{"destination":"b","conditions":{"payload.tags":{"$in":["new","old"]},"payload.price":{"$gte":1249.9}}},
			{"destination":"c","conditions":{"payload.tags":{"$all":["new","old"]},"payload.price":{"$gt":0.1}}}`, payload300},
		{"transform", `{"destination":"b","conditions":{"payload.visible":true,"payload.stock":{"$gte":42}},"transform":{"include_fields":["id","name","price"]}}`, payload300},
		{"20 kB", `{"destination":"a","conditions":{"payload.visible":false,"payload.stock":{"$gt":1}}},
			{"destination":"b","conditions":{"payload.type":"product.updated","payload.stock":{"$gte":42}}},
			{"destination":"c","conditions":{"payload.currency":"EUR","payload.stock":{"$lt":42}}}`, large},
	} {
		b.Run(c.name, func(b *testing.B) {
			tb := table(b, router.Config{})
			e := &router.Event{
				ID: "1", Topic: "products", CreatedAt: time.Unix(1, 0), Payload: []byte(c.payload), Metadata: message.Metadata{"source": "shop"},
				RoutingConfig: `{"targets":[` + c.targets + `]}`,
			}
			b.ReportAllocs()
			for b.Loop() {
				plan, err := tb.Resolve(e)
				if err != nil {
					b.Fatal(err)
				}
				hits, few := 0, [4]router.Step{}
				for _, s := range plan.First(e, nil, few[:0]) {
					if s.Err != nil {
						b.Fatal(s.Err)
					}
					if s.Deliver {
						hits++
					}
				}
				if hits != 1 {
					b.Fatal(hits)
				}
			}
		})
	}
}

func BenchmarkRoutingKey(b *testing.B) {
	tb, e := table(b, router.Config{}), &router.Event{RoutingKey: "kafka://orders", Payload: []byte(payload300)}
	b.ReportAllocs()
	for b.Loop() {
		p, err := tb.Resolve(e)
		if err != nil {
			b.Fatal(err)
		}
		few := [4]router.Step{}
		if steps := p.First(e, nil, few[:0]); len(steps) != 1 || !steps[0].Deliver {
			b.Fatal(len(steps))
		}
	}
}

// BenchmarkStaticRoutes resolves 1,000 topics in turn, and topics that were not seen before.
func BenchmarkStaticRoutes(b *testing.B) {
	for _, n := range []int{10, 1000} {
		var routes router.Routes
		for i := range n {
			p := fmt.Sprintf("tenant%d.orders.*", i)
			if i%10 == 9 {
				p = fmt.Sprintf("*.shop%d.**", i)
			}
			routes.Routes = append(routes.Routes, router.Route{Topic: p, Config: `{"targets":[{"destination":"a"}]}`})
		}
		tb := table(b, router.Config{Routes: routes})
		topics := make([]string, 1000)
		for i := range topics {
			topics[i] = fmt.Sprintf("tenant%d.orders.created", i%n)
		}
		b.Run(fmt.Sprintf("%d routes", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if p, err := tb.Resolve(&router.Event{Topic: topics[i%len(topics)]}); err != nil || p == nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("%d routes, new topics", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if p, err := tb.Resolve(&router.Event{Topic: fmt.Sprintf("tenant%d.orders.%d", i%n, i)}); err != nil || p == nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCompileConfig(b *testing.B) {
	tb := table(b, router.Config{AllowExprPerEvent: true})
	for name, text := range map[string][]byte{
		"golden": golden(b), "one condition": []byte(`{"targets":[{"destination":"a","conditions":{"payload.visible":true}}]}`),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := tb.Validate(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkExplain(b *testing.B) {
	tb := table(b, router.Config{AllowExprPerEvent: true})
	e := &router.Event{ID: "1", Payload: []byte(payload300), RoutingConfig: string(golden(b))}
	b.ReportAllocs()
	for b.Loop() {
		router.Explain(tb, e, nil)
	}
}

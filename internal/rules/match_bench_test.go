package rules_test

import (
	"strings"
	"testing"

	"github.com/bento-outbox/watermill-outbox/internal/event"
)

const payload300 = `{"id":"5f0c3b3e-6f0e-4a53-9d6e-0d8f3a1c2b4d","type":"product.updated","name":"Mechanical keyboard, 87 keys","price":1249.90,"currency":"EUR","visible":true,"stock":42,"tags":["new","sale"],"customer":{"id":"c-1001","tier":"gold","country":"DE"},"total":99999999999999999999,"note":"no remark was given"}`

func BenchmarkMatch(b *testing.B) {
	large := `{"items":[` + strings.Repeat(`{"id":12345,"name":"a name of some length","price":99.50},`, 350) + `{}],"visible":true,"price":1500}`
	for _, c := range []struct{ name, conditions, when, payload string }{
		{"two fields", `{"payload.visible":true,"payload.price":{"$gt":1000}}`, "", payload300},
		{"array and decimal", `{"payload.tags":"sale","payload.price":{"$gte":1249.9}}`, "", payload300},
		{"when", "", "payload.stock > 40 && payload.visible", payload300},
		{"attributes", `{"topic":"products","tenant_id":{"$in":["a","b"]}}`, "", payload300},
		{"two fields of 20 kB", `{"payload.visible":true,"payload.price":{"$gt":1000}}`, "", large},
	} {
		m := matcher(b, c.conditions, c.when)
		e := &event.Event{ID: "1", Topic: "products", TenantID: "a", Payload: []byte(c.payload)}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if ok, err := m.Match(e); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, c := range []struct{ name, conditions, when string }{
		{"two fields", `{"payload.visible":true,"payload.price":{"$gt":1000}}`, ""},
		{"when", `{"payload.visible":true}`, "payload.stock > 40 && payload.visible"},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				matcher(b, c.conditions, c.when)
			}
		})
	}
}

package middleware_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bento-outbox/watermill-outbox/middleware"
)

// TestConditionsCannotCostMuch holds authors of conditions who mean harm to about a second on payloads of a megabyte.
func TestConditionsCannotCostMuch(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes a second of work for each case: not in short mode")
	}
	long := strings.Repeat("x", 1<<20)
	var many []string
	for i := range 400 {
		many = append(many, fmt.Sprintf(`"payload.o.k%d":null`, i))
	}
	numbers := "1" + strings.Repeat(",1", 400)
	for _, c := range []struct{ name, conditions, when, payload string }{
		{"a slow pattern", `{"payload.s":{"$regex":"(x?){390}x{390}y"}}`, "", `{"s":"` + long + `"}`},
		{"many patterns", `{"payload.s":{"$elemMatch":{"$regex":"(x?){100}x{100}y"}}}`, "", `{"s":["` + strings.Repeat(`xxxxxxxxxx","`, 90_000) + `"]}`},
		{"many paths", `{` + strings.Join(many, ",") + `,"$and":[{` + strings.Join(many, ",") + `}]}`, "", `{"o":{"s":"` + long + `"}}`},
		{"long lists of values", `{"payload.a":{"$in":[` + numbers + `.5]}}`, "", `{"a":[` + strings.Repeat("2,", 500_000) + `2]}`},
		{"a when that reads again and again", "", "all(payload.a, payload.b != 1)", `{"a":[` + strings.Repeat("2,", 500_000) + `2]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, err := middleware.NewMatcher(middleware.MatchConfig{Conditions: c.conditions, When: c.when})
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			_, err = m.Match(event(c.payload))
			if err == nil || !strings.Contains(err.Error(), "cost too much") || !middleware.IsPermanent(err) {
				t.Fatalf("error is %v", err)
			}
			if took := time.Since(start); took > 20*time.Second { // far more than it takes: the machine may be busy
				t.Fatalf("took %s", took)
			}
		})
	}
}

func FuzzConditions(f *testing.F) {
	f.Add(`{"payload.a":{"$elemMatch":{"b":{"$gt":1,"$regex":"x"}}},"$nor":[{"payload.0":null}]}`, `{"a":[{"b":2}],"0":1}`)
	f.Add(`{"payload.a.0.b":{"$not":{"$all":[1,[2]]},"$size":1},"payload":{"$exists":true}}`, `{"a":[[1,{"b":[2]}]]}`)
	f.Add(`{"payload.a\\.b":{"$in":[1e400,"x",null]},"topic":{"$regex":"^o","$options":"i"}}`, `{"a.b":1e400}`)
	f.Add(`{"occurred_at":{"$gte":"2025-01-01"},"schema_version":{"$lt":3}}`, ``)
	f.Fuzz(func(t *testing.T, conditions, payload string) {
		m, err := middleware.NewMatcher(middleware.MatchConfig{Conditions: conditions})
		if err != nil {
			return
		}
		e := event(payload)
		got, err := m.Match(e)
		if err != nil {
			if !middleware.IsPermanent(err) {
				t.Fatal(err)
			}
			return
		}
		failing, err := m.Failing(e)
		if err != nil || (failing == "") != got {
			t.Fatalf("%s of %s is %v, failing condition is %q, %v", conditions, payload, got, failing, err)
		}
		negated, err := middleware.NewMatcher(middleware.MatchConfig{Conditions: `{"$nor":[` + conditions + `]}`})
		if err != nil {
			return // too deep by one
		}
		if opposite, err := negated.Match(e); err != nil || opposite == got {
			t.Fatalf("%s of %s is %v, and so is its negation, %v", conditions, payload, got, err)
		}
	})
}

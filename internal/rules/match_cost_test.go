package rules_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/fault"
)

// TestConditionsCannotCostMuch holds authors of conditions who mean harm to about a tenth of a second on payloads of a megabyte.
func TestConditionsCannotCostMuch(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes a second of work: not in short mode")
	}
	long := strings.Repeat("x", 1<<20)
	var many []string
	for i := range 400 {
		many = append(many, fmt.Sprintf(`"payload.o.k%d":null`, i))
	}
	numbers := "1" + strings.Repeat(",1", 400)
	array := `{"a":[` + strings.Repeat("2,", 500_000) + `2]}`
	var or []string
	for i := range 300 {
		or = append(or, fmt.Sprintf(`{"b":%d}`, i))
	}
	nest := "1"
	for range 60 {
		nest = `[{"0":` + nest + `}]`
	}
	double := "let a0 = payload.s; "
	for i := range 40 {
		double += fmt.Sprintf("let a%d = a%d + a%d; ", i+1, i, i)
	}
	for _, c := range []struct{ name, conditions, when, payload string }{
		{"a slow pattern", `{"payload.s":{"$regex":"(x?){390}x{390}y"}}`, "", `{"s":"` + long + `"}`},
		{"many patterns", `{"payload.s":{"$elemMatch":{"$regex":"(x?){100}x{100}y"}}}`, "", `{"s":["` + strings.Repeat(`xxxxxxxxxx","`, 90_000) + `"]}`},
		{"many paths", `{` + strings.Join(many, ",") + `,"$and":[{` + strings.Join(many, ",") + `}]}`, "", `{"o":{"s":"` + long + `"}}`},
		{"long lists of values", `{"payload.a":{"$in":[` + numbers + `.5]}}`, "", `{"a":[` + strings.Repeat("2,", 500_000) + `2]}`},
		{"many comparisons of every element", `{"payload.a":{"$elemMatch":{"$or":[` + strings.Join(or, ",") + `]}}}`, "", `{"a":[` + strings.Repeat(`{"b":-1},`, 100_000) + `{}]}`},
		{"a path of which every index is a name too", `{"payload` + strings.Repeat(".0", 100) + `":1}`, "", nest},
		{"long texts with escapes", `{"$and":[` + strings.TrimSuffix(strings.Repeat(`{"payload.s":{"$lt":"y"}},`, 200), ",") + `]}`, "", `{"s":"` + strings.Repeat(`\n`, 1<<20) + `z"}`},
		{"a long array against a long array", `{"payload.a":{"$elemMatch":{"$in":[` + strings.Repeat("["+strings.Repeat("1,", 200)+"2],", 4) + `0]}}}`, "",
			`{"a":[` + strings.Repeat("["+strings.Repeat("1,", 200)+"3],", 4_000) + `[]]}`},
		{"a text that doubles", "", `reduce(1..36, {#acc + #acc}, "x") != ""`, `{}`},
		{"a text that doubles by names", "", double + `a40 != ""`, `{"s":"xxxxxxxxxx"}`},
		{"an array that doubles", "", `string(reduce(1..36, {[#acc, #acc]}, 1)) != ""`, `{}`},
		{"arrays that double, compared", "", `let x = reduce(1..36, {[#acc, #acc]}, 1); let y = reduce(1..36, {[#acc, #acc]}, 1); x != y`, `{}`},
		{"one array inside itself", "", "all(payload.a, all(payload.a, # > 0))", array},
		{"one array inside itself, by a name", "", "let x = payload.a; all(x, all(x, # > 0))", `{"a":[` + strings.Repeat("2,", 100_000) + `2]}`},
		{"numbers inside numbers", "", "let r = 1..1000; all(r, all(r, # > 0 and # < 5000 and # != -9 and # > -5 and # < 5001 and # != -99))", `{}`},
		{"a pattern on a long text", "", `payload.s matches "(x?){300}"`, `{"s":"` + long + `"}`},
		{"a text in a text, again and again", "", "let s = payload.s; all(1..90000, not (s contains \"yy\"))", `{"s":"` + long + `"}`},
		{"equal texts, again and again", "", "let s = payload.s; let r = payload.r; all(1..90000, s == r)", `{"s":"` + long + `","r":"` + long + `"}`},
		{"a name that is a long text", "", `let s = payload.s; all(1..90000, metadata[s] == "")`, `{"s":"` + long + `"}`},
		{"an element in an array, again and again", "", "let x = payload.a; all(1..90000, not (5 in x))", `{"a":[` + strings.Repeat("2,", 100_000) + `2]}`},
		{"a function, again and again", "", `let s = payload.s; all(1..90000, upper(s) != "")`, `{"s":"` + long + `"}`},
		{"a text that is split", "", `len(split(payload.s, "x")) == 1`, `{"s":"` + strings.Repeat(long, 3) + `"}`},
		{"a when that reads again and again", "", "all(payload.a, payload.b != 1)", array},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := matcher(t, c.conditions, c.when)
			start := time.Now()
			_, err := m.Match(order(c.payload))
			if err == nil || !strings.Contains(err.Error(), "cost too much") || !fault.IsPermanent(err) {
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
		m, faults := compileConditions(conditions, "")
		if len(faults) > 0 {
			return
		}
		e := order(payload)
		got, err := m.Match(e)
		if err != nil {
			if !fault.IsPermanent(err) {
				t.Fatal(err)
			}
			return
		}
		failing, err := m.Failing(e)
		if err != nil || (failing == "") != got {
			t.Fatalf("%s of %s is %v, failing condition is %q, %v", conditions, payload, got, failing, err)
		}
		negated, faults := compileConditions(`{"$nor":[`+conditions+`]}`, "")
		if len(faults) > 0 {
			return // too deep by one
		}
		if opposite, err := negated.Match(e); err != nil || opposite == got {
			t.Fatalf("%s of %s is %v, and so is its negation, %v", conditions, payload, got, err)
		}
	})
}

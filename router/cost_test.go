package router_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/router"
)

func repeated(n int, target string) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(target, i)
	}
	return strings.Join(list, ",")
}

// What an event costs is bounded for all its targets together, in time and in memory, and each answer is the same however often and with
// whom a target is asked.
func TestEventCannotCostMuch(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes seconds of work: not in short mode")
	}
	const tooMuch, tooLong, tooHard = "conditions cost too much", "the result is longer than", "it takes too much work"
	million := `{"a":[` + strings.Repeat("7,", 1_000_000) + `7]}`
	objects := `{"a":[` + strings.Repeat("{},", 33_000) + `{}]}`
	large := `{"a":1,"b":"` + strings.Repeat("x", 16<<20-30) + `"}`
	thirty := strings.TrimSuffix(strings.Repeat("1,", 30), ",")
	var fields []string
	for i := range 400 {
		fields = append(fields, fmt.Sprintf(`"a.k%d":1`, i))
	}
	added := strings.Join(fields, ",")
	nested, moves := `"`+strings.Repeat("x", 1<<20)+`"`, ""
	for i := range 14 {
		nested = `{"n":` + nested + `}`
		moves += fmt.Sprintf(`"a%s.n":"to%d",`, strings.Repeat(".n", i), i)
	}
	far := ""
	for i := range 300 {
		far += fmt.Sprintf(`"a.999%d":"to%d",`, i, i)
	}
	far = strings.TrimSuffix(far, ",")
	for _, c := range []struct{ name, targets, payload, err string }{
		{"50 targets of $in", repeated(50, `{"destination":"d%d","conditions":{"payload.a":{"$in":[`+thirty+`]}}}`), million, tooMuch},
		{"$elemMatch with $or", `{"destination":"d","conditions":{"payload.a":{"$elemMatch":{"$or":[` + repeated(300, `{"b":%d}`) + `]}}}}`,
			`{"a":[` + strings.Repeat(`{"b":-1},`, 100_000) + `{}]}`, tooMuch},
		{"50 sampling keys", repeated(50, `{"destination":"d%d","sampling_rate":0.5,"sampling_key":"payload.a.999999"}`), million, "sampling_key costs too much"},
		{"50 whens", repeated(50, `{"destination":"d%d","when":"reduce(1..36, {#acc + #acc}, payload.s) != ''"}`), `{"s":"xx"}`, tooMuch},
		{"a long field in every element", `{"destination":"d","transform":{"add_fields":{"a.n":"` + strings.Repeat("x", 60_000) + `"}}}`, objects, tooLong},
		{"5 targets with 400 fields", repeated(5, `{"destination":"d%d","transform":{"add_fields":{`+added+`}}}`),
			`{"a":[` + strings.Repeat("{},", 1_000_000) + `{}]}`, tooHard},
		{"fields that are there", `{"destination":"d","transform":{"add_fields":{` + added + `}}}`, objects, tooHard},
		{"a long name in every element", `{"destination":"d","transform":{"field_mapping":{"a.k":"a.` + strings.Repeat("n", 490) + `"}}}`,
			`{"a":[` + strings.Repeat(`{"k":1},`, 200_000) + `{}]}`, "transform: "},
		{"a value that moves and moves", `{"destination":"d","transform":{"field_mapping":{` + strings.TrimSuffix(moves, ",") + `}}}`, `{"a":` + nested + `}`, "transform: "},
		{"many moves from a long array", `{"destination":"d","transform":{"field_mapping":{` + far + `}}}`, million, tooHard},
		{"50 copies of a large payload", repeated(50, `{"destination":"d%d","transform":{"exclude_fields":["a"]}}`), large, tooHard},
		{"indexes and names", `{"destination":"d","transform":{"exclude_fields":[` + repeated(450, `"a.%d.x"`) + `,` + repeated(450, `"a.k%d.y"`) + `]}}`,
			`{"a":[` + strings.Repeat("[{},{}],{},", 300_000) + `{}]}`, tooHard},
		{"an element far behind the end", `{"destination":"d","transform":{"add_fields":{"a.999999999":1,"b.999999999.999999999":1}}}`, `{"a":[],"b":1e999999999}`, "cannot hold"},
		{"a field with a large number", `{"destination":"d","transform":{"add_fields":{"b.999999999.999999999":1e999999999}}}`, `{"a":1e999999999}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tb := table(t, router.Config{AllowExprPerEvent: true})
			e := &router.Event{ID: "1", Topic: "t", CreatedAt: time.Unix(1, 0), Payload: []byte(c.payload), RoutingConfig: `{"targets":[` + c.targets + `]}`}
			p := resolve(t, tb, e)
			total := 0
			var steps []router.Step
			took := spent(func() { steps = p.First(e, nil, nil) })
			for i, s := range steps {
				total += len(s.Payload)
				if (c.err == "") != (s.Err == nil) || s.Err != nil && (!strings.Contains(s.Err.Error(), c.err) || !middleware.IsPermanent(s.Err)) {
					t.Fatalf("target %d: error is %v, want %s", i, s.Err, c.err)
				}
				if i > 2 {
					continue
				}
				if d, err := p.Targets[i].Decide(e); fmt.Sprint(err) != fmt.Sprint(s.Err) || d.Deliver != s.Deliver || string(d.Payload) != string(s.Payload) {
					t.Fatalf("target %d alone: %v, %v, with the others %v, %v", i, d.Deliver, err, s.Deliver, s.Err)
				}
			}
			if t.Log(c.name, took, total); took > 20*time.Second || total > 64<<20 { // far more than it takes
				t.Errorf("took %s and made %d bytes", took, total)
			}
		})
	}
}

// A target that costs too much gives up alone.
func TestTargetsDoNotPayForOthers(t *testing.T) {
	t.Parallel()
	e := &router.Event{ID: "1", Payload: []byte(`{"s":"` + strings.Repeat("x", 1<<18) + `","b":1}`), RoutingConfig: `{"fallback":"f","targets":[
		{"destination":"a","conditions":{"payload.s":{"$regex":"(x?){300}x{300}y"}}},
		{"destination":"b","conditions":{"payload.b":1,"payload.s":{"$regex":"xy"}}},
		{"destination":"c","conditions":{"payload.b":1},"transform":{"exclude_fields":["s"]}}]}`}
	steps := resolve(t, table(t, router.Config{}), e).First(e, nil, nil)
	if len(steps) != 4 || steps[0].Err == nil || steps[1].Reason != router.Condition || string(steps[2].Payload) != `{"b":1}` || steps[3].Cause != steps[0].Err.Error() {
		t.Fatalf("%+v", steps)
	}
}

func TestLimitsOfWorkAndOutputAreShared(t *testing.T) {
	t.Parallel()
	cfg := router.Config{Limits: router.Limits{Match: middleware.Limits{Work: 3000, Output: 200}}}
	e := &router.Event{Payload: []byte(`{"a":{"b":"` + strings.Repeat("x", 90) + `"}}`)}
	for n, ok := range map[int]bool{1: true, 2: false} {
		e.RoutingConfig = `{"targets":[` + repeated(n, `{"destination":"d%d","transform":{"exclude_fields":["c"]}}`) + `]}`
		if err := resolve(t, table(t, cfg), e).First(e, nil, nil)[0].Err; (err == nil) != ok {
			t.Errorf("%d targets: %v", n, err)
		}
	}
	e.Payload = []byte(`{"a":[` + strings.Repeat("1,", 50) + `1]}`)
	for n, ok := range map[int]bool{1: true, 2: false} {
		e.RoutingConfig = `{"targets":[` + repeated(n, `{"destination":"d%d","conditions":{"payload.a":{"$ne":2}}}`) + `]}`
		if err := resolve(t, table(t, cfg), e).First(e, nil, nil)[0].Err; (err == nil) != ok || err != nil && errors.Is(err, router.ErrInvalidConfig) {
			t.Errorf("%d targets: %v", n, err)
		}
	}
}

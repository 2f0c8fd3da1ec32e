package router_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/router"
)

func golden(t testing.TB) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(text)
}

func TestConfigComesBackAsItWas(t *testing.T) {
	t.Parallel()
	cfg, err := router.ParseConfig(golden(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	if got, err := cfg.JSON(); err != nil || !bytes.Equal(got, golden(t)) {
		t.Fatalf("got  %s\nwant %s\n%v", got, golden(t), err)
	}
}

func TestBuilderMakesTheGoldenConfig(t *testing.T) {
	t.Parallel()
	got, err := router.NewBuilder().AllOrNothing().Fallback("default.events").
		Target(router.TargetConfig{Destination: "kafka://search.index"}, router.If("payload.visible", true)).
		Target(router.TargetConfig{
			Destination: "redis://vip.notifications", Name: "vip", When: "payload.total > payload.limit",
			Transform: &middleware.TransformConfig{
				IncludeFields: []string{"id", "name", "price", `a\.b`},
				ExcludeFields: []string{"secret"},
				FieldMapping:  map[string]string{"name": "title"},
				AddFields:     map[string]any{"source": "<shop>", "n": json.RawMessage("1.50")},
			},
			RetryPolicy: "aggressive", OnDead: router.HoldKey,
		}, router.If("payload.price", router.Op{"$gt": 1000}), router.If("topic", router.Op{"$in": []string{"products", "offers"}})).
		Target(router.TargetConfig{Destination: "analytics.events", SamplingRate: new(0.1), SamplingKey: "payload.customer.id", DelaySeconds: 5}).
		JSON()
	if err != nil || !bytes.Equal(got, golden(t)) {
		t.Fatalf("got  %s\nwant %s\n%v", got, golden(t), err)
	}
}

func TestBuilderJoinsConditions(t *testing.T) {
	t.Parallel()
	got, err := router.NewBuilder().
		Target(router.TargetConfig{Destination: "a", SamplingRate: new(1.0)},
			router.If("payload.a", router.Op{"$gte": 1}), router.If("payload.a", router.Op{"$lte": 2}), router.If("payload.b", router.Op{"$regex": "<"})).
		Target(router.TargetConfig{Destination: "b", Conditions: json.RawMessage(`{"payload.a":1}`)}, router.If("payload.b", 2), router.If("payload.c", nil)).
		Target(router.TargetConfig{Destination: "c"}, router.If("payload.a", router.Op{"$nin": []int{}, "$exists": true})).
		JSON()
	want := `{"version":1,"targets":[` +
		`{"destination":"a","conditions":{"$and":[{"payload.a":{"$gte":1}},{"payload.a":{"$lte":2}},{"payload.b":{"$regex":"<"}}]},"sampling_rate":1},` +
		`{"destination":"b","conditions":{"$and":[{"payload.a":1},{"payload.b":2},{"payload.c":null}]}},` +
		`{"destination":"c","conditions":{"payload.a":{"$exists":true,"$nin":[]}}}]}`
	if err != nil || string(got) != want {
		t.Fatalf("got  %s\nwant %s\n%v", got, want, err)
	}
	if _, err := router.NewBuilder().Target(router.TargetConfig{Destination: "a"}, router.If("payload.a", func() {})).JSON(); !errors.Is(err, router.ErrInvalidConfig) {
		t.Errorf("error is %v", err)
	}
	if _, err := router.NewBuilder().Target(router.TargetConfig{Destination: "a"}, router.If("a", 1)).JSON(); !errors.Is(err, router.ErrInvalidConfig) {
		t.Errorf("error is %v", err)
	}
}

func TestHelpers(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]router.RoutingConfig{
		`{"version":1,"targets":[{"destination":"a"}]}`:                                             router.SimpleRouting("a"),
		`{"version":1,"fallback":"b","targets":[{"destination":"a","conditions":{"payload.x":1}}]}`: router.ConditionalRouting("a", `{"payload.x":1}`, "b"),
		`{"version":1,"targets":[{"destination":"a","sampling_rate":0.5}]}`:                         router.SamplingRouting("a", 0.5),
	} {
		got, err := cfg.JSON()
		if err != nil || string(got) != want || cfg.Validate() != nil {
			t.Errorf("got %s, want %s, %v, %v", got, want, err, cfg.Validate())
		}
	}
	if err := router.ConditionalRouting("a", "{", "").Validate(); !errors.Is(err, router.ErrInvalidConfig) || !strings.Contains(err.Error(), "/targets/0/conditions: is not JSON") {
		t.Errorf("error is %v", err)
	}
	if err := router.SamplingRouting("a", 2).Validate(); !strings.Contains(err.Error(), "/targets/0/sampling_rate") {
		t.Errorf("error is %v", err)
	}
}

func table(t testing.TB, cfg router.Config) *router.Table {
	t.Helper()
	tb, err := router.NewTable(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tb
}

func faults(err error) []string {
	var invalid *router.InvalidConfigError
	if !errors.As(err, &invalid) {
		return nil
	}
	out := make([]string, len(invalid.Faults))
	for i, f := range invalid.Faults {
		out[i] = f.String()
	}
	return out
}

func TestConfigFaults(t *testing.T) {
	t.Parallel()
	tb := table(t, router.Config{
		Publishers: []string{"kafka", "redis"},
		Policies:   map[string]middleware.RetryPolicy{"patient": {MaxAttempts: 100, Multiplier: 1}},
	})
	const ok = `"destination":"a"`
	for _, c := range []struct{ config, pointer, text string }{
		{``, "", "is not JSON at byte 0"},
		{`{"targets":[{` + ok + `}],}`, "", "is not JSON at byte 34"},
		{"{\"targets\":[{\"destination\":\"\xff\"}]}", "", "is not valid UTF-8"},
		{`[]`, "", "must be an object, not an array"},
		{`{"fallback":"f"}`, "", `has no "targets"`},
		{`{"targets":{}}`, "/targets", "must be an array"},
		{`{"targets":[5]}`, "/targets/0", "must be an object, not a number"},
		{`{"targets":[{}]}`, "/targets/0", `has no "destination"`},
		{`{"targets":[{"destination":""}]}`, "/targets/0/destination", "is empty"},
		{`{"targets":[{"destination":null}]}`, "/targets/0", `has no "destination"`},
		{`{"targets":[null]}`, "/targets/0", "must be an object, not null"},
		{`{"targets":[{` + ok + `,"transform":{"field_mapping":{"a":null}}}]}`, "/targets/0/transform/field_mapping/a", "must be a string, not null"},
		{`{"targets":[{` + ok + `,"transform":{"include_fields":[null]}}]}`, "/targets/0/transform/include_fields/0", "must be a string, not null"},
		{`{"targets":[{"destination":"kafak://x"}]}`, "/targets/0/destination", `unknown publisher "kafak", did you mean "kafka"?`},
		{`{"targets":[{"destination":"nats://x"}]}`, "/targets/0/destination", "known are kafka, redis"},
		{`{"targets":[{"destination":"://x"}]}`, "/targets/0/destination", "no publisher name"},
		{`{"targets":[{"destination":"kafka://"}]}`, "/targets/0/destination", "no topic"},
		{`{"targets":[{"destination":"` + strings.Repeat("x", 501) + `"}]}`, "/targets/0/destination", "longer than 500"},
		{`{"targets":[{"destination":"a\u0000"}]}`, "/targets/0/destination", "NUL"},
		{`{"targets":[{` + ok + `,"name":"` + strings.Repeat("x", 201) + `"}]}`, "/targets/0/name", "longer than 200"},
		{`{"targets":[{` + ok + `},{` + ok + `}]}`, "/targets/1/destination", "used twice"},
		{`{"targets":[{` + ok + `},{"destination":"b","name":"a"}]}`, "/targets/1/name", "used twice"},
		{`{"targets":[{` + ok + `,"condition":{}}]}`, "/targets/0/condition", `did you mean "conditions"?`},
		{`{"targets":[{` + ok + `,"zzzz":{}}]}`, "/targets/0/zzzz", "known are name, destination"},
		{`{"targets":[{` + ok + `,` + ok + `}]}`, "/targets/0/destination", "duplicate key"},
		{`{"targetz":[{` + ok + `}]}`, "/targetz", `did you mean "targets"?`},
		{`{"version":2,"targets":[{` + ok + `}]}`, "/version", "knows version 1"},
		{`{"version":"1","targets":[{` + ok + `}]}`, "/version", "knows version 1"},
		{`{"strategy":"besteffort","targets":[{` + ok + `}]}`, "/strategy", `did you mean "best_effort"?`},
		{`{"fallback":"","targets":[{` + ok + `}]}`, "/fallback", "is empty"},
		{`{"fallback":"kafka://","targets":[{` + ok + `}]}`, "/fallback", "no topic"},
		{`{"targets":[{` + ok + `,"conditions":[]}]}`, "/targets/0/conditions", "must be an object"},
		{`{"targets":[{` + ok + `,"conditions":{"payload.a/b":{"$gtt":1}}}]}`, "/targets/0/conditions/payload.a~1b/$gtt", "did you mean $gt?"},
		{`{"targets":[{` + ok + `,"when":"true"}]}`, "/targets/0/when", "is not allowed in the config of an event"},
		{`{"targets":[{` + ok + `,"sampling_rate":1.5}]}`, "/targets/0/sampling_rate", "between 0 and 1"},
		{`{"targets":[{` + ok + `,"sampling_rate":"0.5"}]}`, "/targets/0/sampling_rate", "must be a number, not a string"},
		{`{"targets":[{` + ok + `,"sampling_rate":1e999}]}`, "/targets/0/sampling_rate", "out of range"},
		{`{"targets":[{` + ok + `,"sampling_key":"tenant_id"}]}`, "/targets/0/sampling_key", "needs a sampling_rate"},
		{`{"targets":[{` + ok + `,"sampling_rate":1,"sampling_key":"customer"}]}`, "/targets/0/sampling_key", "did you mean payload.customer?"},
		{`{"targets":[{` + ok + `,"delay_seconds":-1}]}`, "/targets/0/delay_seconds", "between 0 and"},
		{`{"targets":[{` + ok + `,"delay_seconds":1e12}]}`, "/targets/0/delay_seconds", "366 days"},
		{`{"targets":[{` + ok + `,"retry_policy":"aggressiv"}]}`, "/targets/0/retry_policy", `did you mean "aggressive"?`},
		{`{"targets":[{` + ok + `,"retry_policy":"zzzzzzzz"}]}`, "/targets/0/retry_policy", "known are aggressive, default, exponential, none, patient"},
		{`{"targets":[{` + ok + `,"on_dead":"hold"}]}`, "/targets/0/on_dead", "unknown value"},
		{`{"targets":[{` + ok + `,"transform":{"include_fields":[1]}}]}`, "/targets/0/transform/include_fields/0", "must be a string"},
		{`{"targets":[{` + ok + `,"transform":{"include_field":["a"]}}]}`, "/targets/0/transform/include_field", "did you mean"},
		{`{"targets":[{` + ok + `,"transform":{"field_mapping":{"a":"a.b"}}}]}`, "/targets/0/transform/field_mapping/a", "inside the other"},
		{`{"targets":[` + strings.Repeat(`{`+ok+`},`, 50) + `{` + ok + `}]}`, "/targets", "more than 50"},
		{`{"targets":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`, "/targets" + strings.Repeat("/0", 64), "nested deeper than 64"},
		{`{"targets":[` + strings.Repeat("1,", 6000) + `1]}`, "/targets/4998", "more than 5000 values"},
		{`{"targets":[{"destination":"` + strings.Repeat("x", 70_000) + `"}]}`, "", "more than 65536"},
	} {
		err := tb.Validate([]byte(c.config))
		list := faults(err)
		if len(list) == 0 || !errors.Is(err, router.ErrInvalidConfig) || !middleware.IsPermanent(err) {
			t.Errorf("%.80s: error is %v", c.config, err)
			continue
		}
		found := false
		for _, f := range list {
			found = found || strings.HasPrefix(f, strings.TrimPrefix(c.pointer+": ", ": ")) && strings.Contains(f, c.text)
		}
		if !found {
			t.Errorf("%.80s: want %s: %s, faults are %q", c.config, c.pointer, c.text, list)
		}
		if _, resolveErr := tb.Resolve(&router.Event{RoutingConfig: c.config}); c.config != "" && (resolveErr == nil || resolveErr.Error() != "routing_config: "+err.Error()) {
			t.Errorf("%.80s: Resolve says %v", c.config, resolveErr)
		}
	}
}

// A key that is null, and a list without elements, mean what leaving them out means, in every form of a config.
func TestNullMeansNotGiven(t *testing.T) {
	t.Parallel()
	const full = `{"version":null,"strategy":null,"fallback":null,"targets":[{"name":null,"destination":"a","conditions":null,"when":null,
		"sampling_rate":null,"sampling_key":null,"delay_seconds":null,"transform":null,"retry_policy":null,"on_dead":null},
		{"destination":"b","conditions":{},"transform":{"include_fields":[],"exclude_fields":null,"field_mapping":{},"add_fields":null}},
		{"destination":"c","transform":{"include_fields":null,"exclude_fields":[],"field_mapping":null,"add_fields":{"n":null}}}]}`
	yaml := "- topic: t\n  name: null\n  config:\n    version: null\n    strategy: ~\n    fallback:\n    targets:\n" +
		"      - {name: null, destination: a, conditions: null, when: , sampling_rate: null, sampling_key: ~, delay_seconds: null, transform: null, retry_policy: null, on_dead: null}\n" +
		"      - {destination: b, conditions: {}, transform: {include_fields: [], exclude_fields: null, field_mapping: {}, add_fields: null}}\n" +
		"      - {destination: c, transform: {include_fields: null, exclude_fields: [], field_mapping: null, add_fields: {n: null}}}\n"
	want, _ := json.Marshal(router.Explain(table(t, router.Config{}), &router.Event{Topic: "t", Payload: []byte(`{"x":1}`),
		RoutingConfig: `{"targets":[{"destination":"a"},{"destination":"b"},{"destination":"c","transform":{"add_fields":{"n":null}}}]}`}, nil))
	for _, file := range []string{`[{"topic":"t","name":null,"config":` + full + `}]`, yaml, full} {
		routes, err := router.ParseRoutes([]byte(file))
		if err != nil {
			t.Fatal(err)
		}
		x := router.Explain(table(t, router.Config{Routes: routes}), &router.Event{Topic: "t", Payload: []byte(`{"x":1}`)}, nil)
		x.Route = ""
		if got, _ := json.Marshal(x); string(got) != string(want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	x := router.Explain(table(t, router.Config{}), &router.Event{Topic: "t", Payload: []byte(`{"x":1}`), RoutingConfig: full}, nil)
	if got, _ := json.Marshal(x); string(got) != string(want) || !strings.Contains(string(got), `{"x":1,"n":null}`) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A config without targets and without a fallback is none, on an event and in a static route.
func TestEmptyConfigIsNone(t *testing.T) {
	t.Parallel()
	for _, config := range []string{`{}`, `{"targets":[]}`, `{"targets":null}`, `{"version":1,"strategy":"best_effort","fallback":null,"targets":[]}`} {
		for _, route := range []string{`{"targets":[{"destination":"static"}]}`, config} {
			tb := table(t, router.Config{Routes: router.Routes{Routes: []router.Route{{Topic: "t", Config: route}}}})
			if err := tb.Validate([]byte(config)); err != nil {
				t.Fatalf("%s: %v", config, err)
			}
			want := map[bool]string{true: "t", false: "static"}[route == config]
			for e, want := range map[*router.Event]string{
				{Topic: "t", RoutingConfig: config}: want, {Topic: "t", RoutingConfig: config, RoutingKey: "key"}: "key", {Topic: "t"}: want,
			} {
				if got := destinations(resolve(t, tb, e)); got != want {
					t.Errorf("%s with route %s goes to %s, want %s", config, route, got, want)
				}
			}
		}
	}
	e := &router.Event{Topic: "t", RoutingKey: "key", RoutingConfig: `{"fallback":"f","targets":[]}`}
	if x := router.Explain(table(t, router.Config{}), e, nil); len(x.Deliveries) != 1 || x.Deliveries[0].Destination != "f" {
		t.Errorf("%+v", x)
	}
}

func TestAllConfigFaultsAtOnce(t *testing.T) {
	t.Parallel()
	err := table(t, router.Config{}).Validate([]byte(`{"strategy":"x","targets":[
		{"destination":"a","conditions":{"payload.a":{"$gtt":1},"b":2},"retry_policy":"x","delay_seconds":-1},
		{"destination":5,"transform":{"add_fields":{"a":1,"a.b":2}}, "unknown":1}]}`))
	want := []string{"/targets/1/destination", "/targets/1/unknown", "/strategy", "/targets/0/conditions/payload.a/$gtt", "/targets/0/conditions/b",
		"/targets/0/delay_seconds", "/targets/0/retry_policy", "/targets/1/transform/add_fields/a.b"}
	got := faults(err)
	for i, place := range want {
		if len(got) != len(want) || !strings.HasPrefix(got[i], place+": ") {
			t.Fatalf("faults are %q", got)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add(golden(f))
	f.Add([]byte(`{"targets":[{"destination":"a","conditions":{"payload.a":{"$elemMatch":{"b":{"$in":[1,null]}}}}}]}`))
	f.Add([]byte(`{"targets":[{"destination":"a","transform":{"field_mapping":{"a":"b.c"}}}],"targets":1}`))
	tb := table(f, router.Config{AllowExprPerEvent: true})
	e := &router.Event{ID: "1", Payload: []byte(`{"a":[{"b":1}],"visible":true,"price":5}`), CreatedAt: time.Unix(1, 0)}
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg, formErr := router.ParseConfig(text)
		err := tb.Validate(text)
		if err != nil && len(faults(err)) == 0 {
			t.Fatalf("error without faults: %v", err)
		}
		if err != nil {
			return
		}
		if formErr != nil {
			t.Fatalf("compiles, but does not parse: %v", formErr)
		}
		again, err := cfg.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if err := tb.Validate(again); err != nil {
			t.Fatalf("%s does not compile any more: %v", again, err)
		}
		e := *e
		e.RoutingConfig = string(text)
		other := e
		other.RoutingConfig = string(again)
		x, _ := json.Marshal(router.Explain(tb, &e, nil))
		if y, _ := json.Marshal(router.Explain(tb, &other, nil)); string(x) != string(y) {
			t.Fatalf("%s\n%s", x, y)
		}
	})
}

package router_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/bento-outbox/watermill-outbox/router"
)

const routesYAML = `
# who gets what
routing_version: 2025-03
routes:
  - topic: orders.*
    name: orders
    config: &standard
      strategy: all_or_nothing
      targets:
        - destination: kafka://orders
          conditions: {payload.total: {$gte: 9007199254740993}, payload.paid: yes, payload.rate: {$lt: 1.50}}
          when: payload.total > payload.limit
          sampling_rate: .5
          delay_seconds: 0x10
  - topic: "**"
    config: *standard
`

func TestParseRoutes(t *testing.T) {
	t.Parallel()
	const config = `{"strategy":"all_or_nothing","targets":[{"destination":"kafka://orders","conditions":{"payload.total":{"$gte":9007199254740993},` +
		`"payload.paid":true,"payload.rate":{"$lt":1.50}},"when":"payload.total > payload.limit","sampling_rate":0.5,"delay_seconds":16}]}`
	for name, file := range map[string]string{
		"YAML":      strings.Replace(routesYAML, "payload.paid: yes", "payload.paid: true", 1),
		"JSON":      `{"routing_version":"2025-03","routes":[{"topic":"orders.*","name":"orders","config":` + config + `},{"topic":"**","config":` + config + `}]}`,
		"YAML list": "- {topic: orders.*, name: orders, config: " + config + "}\n- {topic: '**', config: " + config + "}",
		"JSON list": `[{"topic":"orders.*","name":"orders","config":` + config + `},{"topic":"**","config":` + config + `}]`,
	} {
		r, err := router.ParseRoutes([]byte(file))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(r.Routes) != 2 || r.Routes[0].Topic != "orders.*" || r.Routes[0].Name != "orders" || r.Routes[0].Config != config || r.Routes[1].Config != config {
			t.Errorf("%s: %+v", name, r)
		}
		if !strings.HasSuffix(name, "list") && r.Version != "2025-03" {
			t.Errorf("%s: version %q", name, r.Version)
		}
		if err := r.Validate(router.Config{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseRoutesTakesOneConfig(t *testing.T) {
	t.Parallel()
	r, err := router.ParseRoutes([]byte("targets: [{destination: a, retry_policy: x}]"))
	if err != nil || len(r.Routes) != 1 {
		t.Fatal(r, err)
	}
	if got := faults(r.Validate(router.Config{})); len(got) != 1 || !strings.HasPrefix(got[0], "/targets/0/retry_policy: unknown") {
		t.Fatalf("faults are %q", got)
	}
}

func TestRoutesFaults(t *testing.T) {
	t.Parallel()
	const ok = `config: {targets: [{destination: a}]}`
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'j'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", c-1), 10), ","))
	}
	for _, c := range []struct{ file, want string }{
		{"", `is not YAML: EOF`},
		{"{", "is not JSON at byte 1"},
		{"a: [", "is not YAML"},
		{"routes: 5", "/routes: must be an array"},
		{"route: []", `/route: unknown key "route", did you mean "routes"?`},
		{"routing_version: 1", `has no "routes"`},
		{"strategy: best_effort", `has no "targets"`},
		{"- topic: a", `/0: has no "config"`},
		{"- " + ok, `/0: has no "topic"`},
		{"- {topic: 5, " + ok + "}", "/0/topic: must be a string"},
		{"- {topics: a, " + ok + "}", `/0/topics: unknown key "topics", did you mean "topic"?`},
		{"- {topic: a, topic: b, " + ok + "}", "duplicate key"},
		{"---\n- 1\n---\n- 2", "more than one YAML document"},
		{"- {topic: a, config: .inf}", "/0/config: line 1"},
		{"- {topic: a, config: {<<: {a: 1}}}", "merge keys"},
		{"- {topic: a, config: {[a]: 1}}", "a key is no scalar"},
		{"- &x [*x]", "nested too deep"},
		{bomb, "too long"},
		{"- {topic: a, config: !!binary aGk=}", "cannot be written as JSON"},
	} {
		r, err := router.ParseRoutes([]byte(c.file))
		if err == nil {
			err = r.Validate(router.Config{})
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q: error is %.300v, want %s", c.file, err, c.want)
		}
	}
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, yes, no string
	}{
		{"a.b", "a.b", "a a.b.c b.a a.bb"},
		{"a.*", "a.b a.c", "a a.b.c b.a"},
		{"*", "a b", "a.b"},
		{"*.b", "a.b", "b a.b.c"},
		{"a.**", "a a.b a.b.c", "b ab b.a"},
		{"**", "a a.b a.b.c", ""},
		{"**.z", "z a.z a.b.z z.z", "a z.a"},
		{"a.**.z", "a.z a.b.z a.b.c.z a.z.z", "a z a.b az"},
		{"a.*.z", "a.b.z", "a.z a.b.c.z"},
		{"a.**.m.**.z", "a.m.z a.x.m.y.z a.m.m.z", "a.z a.x.z m.z"},
		{"*.**", "a a.b a.b.c", ""},
		{"**.*", "a a.b a.b.c", ""},
	} {
		tb := table(t, router.Config{Routes: router.Routes{Routes: []router.Route{{Topic: c.pattern, Config: `{"targets":[{"destination":"hit"}]}`}}}})
		for _, topics := range []struct {
			list string
			want bool
		}{{c.yes, true}, {c.no, false}} {
			for topic := range strings.FieldsSeq(topics.list) {
				if hit := destinations(resolve(t, tb, &router.Event{Topic: topic})) == "hit"; hit != topics.want {
					t.Errorf("%s on %s: %v", c.pattern, topic, hit)
				}
			}
		}
	}
}

func TestFirstRouteInFileOrderWins(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	words := []string{"a", "b", "c", "*", "**"}
	segments := func(n int) string {
		var out []string
		for range 1 + random.IntN(4) {
			out = append(out, words[random.IntN(n)])
		}
		return strings.Join(out, ".")
	}
	for range 200 {
		var routes router.Routes
		var expressions []*regexp.Regexp
		for i := range 12 {
			p := segments(5)
			routes.Routes = append(routes.Routes, router.Route{Topic: p, Config: fmt.Sprintf(`{"targets":[{"destination":"%d"}]}`, i)})
			// Every segment with a dot in front; ** takes none or more of those.
			text := "." + p
			text = strings.ReplaceAll(strings.ReplaceAll(text, ".**", "#"), ".*", `\.[a-z]+`)
			text = strings.ReplaceAll(strings.NewReplacer(".a", `\.a`, ".b", `\.b`, ".c", `\.c`).Replace(text), "#", `(\.[a-z]+)*`)
			expressions = append(expressions, regexp.MustCompile("^"+text+"$"))
		}
		tb := table(t, router.Config{Routes: routes})
		for range 50 {
			topic := segments(3)
			want := topic
			for i, re := range expressions {
				if re.MatchString("." + topic) {
					want = fmt.Sprint(i)
					break
				}
			}
			for range 2 { // the second time from the cache
				if got := destinations(resolve(t, tb, &router.Event{Topic: topic})); got != want {
					t.Fatalf("%s goes to %s, want %s; routes are %+v", topic, got, want, routes.Routes)
				}
			}
		}
	}
}

package router_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/router"
)

func destinations(p *router.Plan) string {
	var names []string
	for _, t := range p.Targets {
		names = append(names, t.Destination)
	}
	return strings.Join(names, " ")
}

func resolve(t *testing.T, tb *router.Table, e *router.Event) *router.Plan {
	t.Helper()
	p, err := tb.Resolve(e)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestResolveOrder(t *testing.T) {
	t.Parallel()
	tb := table(t, router.Config{Routes: router.Routes{Version: "7", Routes: []router.Route{
		{Topic: "orders.*", Config: `{"targets":[{"destination":"static"}]}`},
	}}})
	for _, c := range []struct {
		event                *router.Event
		want, route, version string
	}{
		{&router.Event{Topic: "orders.created", RoutingKey: "key", RoutingConfig: `{"targets":[{"destination":"config"}]}`}, "config", "", ""},
		{&router.Event{Topic: "orders.created", RoutingKey: "key"}, "key", "", ""},
		{&router.Event{Topic: "orders.created"}, "static", "orders.*", "7"},
		{&router.Event{Topic: "payments"}, "payments", "", ""},
	} {
		p := resolve(t, tb, c.event)
		if got := destinations(p); got != c.want || p.Route != c.route || p.Version != c.version || p.Strategy != router.BestEffort {
			t.Errorf("%+v goes to %s by %+v", c.event, got, p)
		}
	}
}

func TestPlanOfADestination(t *testing.T) {
	t.Parallel()
	own := middleware.RetryPolicy{MaxAttempts: 7, Multiplier: 1}
	tb := table(t, router.Config{Policies: map[string]middleware.RetryPolicy{"default": own}})
	p := resolve(t, tb, &router.Event{RoutingKey: "kafka://orders", Payload: []byte("\x00")})
	target := p.Targets[0]
	if target.Name != "kafka://orders" || target.Destination != "kafka://orders" || target.Policy != own || target.OnDead != router.Continue || p.Fallback != nil {
		t.Fatalf("target is %+v", target)
	}
	d, err := target.Decide(&router.Event{Payload: []byte("\x00")})
	if err != nil || !d.Deliver || d.Reason != router.Matched || !d.Due.IsZero() || !bytes.Equal(d.Payload, []byte("\x00")) {
		t.Fatalf("decision is %+v, %v", d, err)
	}
	if again := resolve(t, tb, &router.Event{Topic: "kafka://orders"}); again != p {
		t.Error("the plan was made twice")
	}
}

func TestPlansAndErrorsAreRemembered(t *testing.T) {
	t.Parallel()
	tb := table(t, router.Config{})
	e := &router.Event{RoutingConfig: `{"targets":[{"destination":"a"}]}`}
	if first, second := resolve(t, tb, e), resolve(t, tb, e); first != second {
		t.Error("the plan was compiled twice")
	}
	bad := &router.Event{RoutingConfig: `{"targets":[{}]}`}
	_, first := tb.Resolve(bad)
	if _, second := tb.Resolve(bad); first == nil || !errors.Is(second, first) {
		t.Errorf("errors are %v and %v", first, second)
	}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	created := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	base := router.Event{
		ID: "6", Topic: "orders", TenantID: "acme", CreatedAt: created, Payload: []byte(`{"n":5,"s":"x"}`),
		Metadata: message.Metadata{"source": "shop"},
	}
	for _, c := range []struct {
		name, target string
		deliver      bool
		reason       router.Reason
		due          time.Time
		payload, err string
	}{
		{"all", `"destination":"a"`, true, router.Matched, time.Time{}, `{"n":5,"s":"x"}`, ""},
		{"met", `"destination":"a","conditions":{"payload.n":5,"tenant_id":"acme","metadata.source":"shop"}`, true, router.Matched, time.Time{}, `{"n":5,"s":"x"}`, ""},
		{"not met", `"destination":"a","conditions":{"payload.n":6}`, false, router.Condition, time.Time{}, "", ""},
		{"when not met", `"destination":"a","when":"payload.n > 5"`, false, router.Condition, time.Time{}, "", ""},
		{"sampled", `"destination":"analytics.events","sampling_rate":0.2`, true, router.Matched, time.Time{}, `{"n":5,"s":"x"}`, ""},
		{"sampled by its name", `"destination":"x","name":"analytics.events","sampling_rate":0.2`, true, router.Matched, time.Time{}, `{"n":5,"s":"x"}`, ""},
		{"missed", `"destination":"analytics.events","sampling_rate":0.1`, false, router.Sampling, time.Time{}, "", ""},
		{"a miss is no miss of a condition", `"destination":"a","conditions":{"payload.n":6},"sampling_rate":0`, false, router.Condition, time.Time{}, "", ""},
		{"delayed", `"destination":"a","delay_seconds":1.5`, true, router.Matched, created.Add(1500 * time.Millisecond), `{"n":5,"s":"x"}`, ""},
		{"transformed", `"destination":"a","conditions":{"payload.s":"x"},"transform":{"exclude_fields":["s"]}`, true, router.Matched, time.Time{}, `{"n":5}`, ""},
		{"not transformed for nothing", `"destination":"a","transform":{}`, true, router.Matched, time.Time{}, `{"n":5,"s":"x"}`, ""},
		{"faulty", `"destination":"a","transform":{"add_fields":{"n.x":1}}`, false, "", time.Time{}, "", `target "a": transform: "n" is a number`},
		{"faulty when", `"destination":"a","when":"payload.none > 5"`, false, "", time.Time{}, "", `target "a": when cannot be evaluated`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := base
			e.RoutingConfig = `{"targets":[{` + c.target + `}]}`
			p := resolve(t, table(t, router.Config{AllowExprPerEvent: true}), &e)
			d, err := p.Targets[0].Decide(&e)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || !middleware.IsPermanent(err) {
					t.Fatalf("error is %v", err)
				}
				return
			}
			if err != nil || d.Deliver != c.deliver || d.Reason != c.reason || !d.Due.Equal(c.due) || string(d.Payload) != c.payload {
				t.Fatalf("decision is %+v, payload %s, %v", d, d.Payload, err)
			}
			if string(e.Payload) != string(base.Payload) {
				t.Fatal("the event was modified")
			}
		})
	}
}

func TestFallbackGetsThePayloadAsItIs(t *testing.T) {
	t.Parallel()
	e := &router.Event{Payload: []byte("no json"), RoutingConfig: `{"fallback":"f","targets":[{"destination":"a","transform":{"exclude_fields":["s"]}}]}`}
	p := resolve(t, table(t, router.Config{}), e)
	d, err := p.Fallback.Decide(e)
	if err != nil || !d.Deliver || d.Reason != router.Fallback || string(d.Payload) != "no json" || p.Fallback.Name != "f" {
		t.Fatalf("%+v, %v", d, err)
	}
}

func TestTargetsCarryTheirSettings(t *testing.T) {
	t.Parallel()
	patient := middleware.RetryPolicy{MaxAttempts: 100, Multiplier: 1}
	tb := table(t, router.Config{Policies: map[string]middleware.RetryPolicy{"patient": patient}})
	p := resolve(t, tb, &router.Event{RoutingConfig: `{"strategy":"all_or_nothing","targets":[
		{"destination":"a","retry_policy":"patient","on_dead":"hold_key","delay_seconds":3},{"destination":"b","retry_policy":"none"}]}`})
	a, b := p.Targets[0], p.Targets[1]
	if p.Strategy != router.AllOrNothing || a.Policy != patient || a.PolicyName != "patient" || a.OnDead != router.HoldKey || a.Delay != 3*time.Second ||
		b.Policy.MaxAttempts != 1 || b.OnDead != router.Continue {
		t.Fatalf("%+v %+v", a, b)
	}
}

func TestNewTableNamesEveryFault(t *testing.T) {
	t.Parallel()
	_, err := router.NewTable(router.Config{
		Policies: map[string]middleware.RetryPolicy{"p/q": {}},
		Routes: router.Routes{Routes: []router.Route{
			{Topic: "a.b*", Config: `{"targets":[{"destination":"x"}]}`},
			{Topic: "a", Name: "n", Config: `{"targets":[{"destination":"x","when":"payload."}]}`},
			{Topic: "", Name: "n"},
		}},
	})
	want := []string{"/policies/p~1q: max attempts", "/routes/0/topic: topic pattern", "/routes/1/config/targets/0/when: expression does not",
		"/routes/2/topic: topic pattern is empty", "/routes/2/name: route name", "/routes/2/config: is not JSON"}
	got := faults(err)
	for i := range want {
		if len(got) != len(want) || !strings.HasPrefix(got[i], want[i]) {
			t.Fatalf("faults are %q", got)
		}
	}
}

func TestLive(t *testing.T) {
	t.Parallel()
	version := func(v string) *router.Table {
		return table(t, router.Config{Routes: router.Routes{Version: v, Routes: []router.Route{{Topic: "**", Config: `{"targets":[{"destination":"a"}]}`}}}})
	}
	live := router.NewLive(version("1"))
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if p, err := live.Resolve(&router.Event{Topic: "x"}); err != nil || p.Version == "" {
					t.Errorf("%+v, %v", p, err)
					return
				}
			}
		})
	}
	for range 100 {
		live.Store(version("2"))
	}
	close(stop)
	readers.Wait()
	if p, _ := live.Resolve(&router.Event{Topic: "x"}); p.Version != "2" || live.Load() == nil {
		t.Fatalf("version is %s", p.Version)
	}
}

func TestResolveIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	tb := table(t, router.Config{Routes: router.Routes{Routes: []router.Route{{Topic: "a.*", Config: `{"targets":[{"destination":"a"}]}`}}}})
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for i := range 3000 {
				var e router.Event
				switch want := fmt.Sprintf("d%d", i); (i + g) % 3 {
				case 0:
					e = router.Event{RoutingKey: want}
				case 1:
					e = router.Event{Topic: want}
				default:
					e = router.Event{RoutingConfig: `{"targets":[{"destination":"` + want + `","conditions":{"payload.n":1}}]}`}
				}
				p, err := tb.Resolve(&e)
				if err != nil || destinations(p) != fmt.Sprintf("d%d", i) {
					t.Error(destinations(p), err)
					return
				}
			}
		})
	}
	group.Wait()
}

func TestErrorsOfEventsWrapErrInvalidConfig(t *testing.T) {
	t.Parallel()
	_, err := table(t, router.Config{}).Resolve(&router.Event{RoutingConfig: strings.Repeat("x", 100_000)})
	if !errors.Is(err, router.ErrInvalidConfig) || !strings.Contains(err.Error(), "routing_config: ") {
		t.Fatal(err)
	}
}

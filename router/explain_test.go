package router_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/bento-outbox/watermill-outbox/router"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	created := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct{ name, config, payload, want string }{
		{
			"every reason", `{"targets":[{"destination":"a","conditions":{"payload.x":1,"payload.price":{"$gt":1000}}},
				{"destination":"b","conditions":{"payload.x":1},"transform":{"include_fields":["x"]},"delay_seconds":5,"retry_policy":"aggressive"},
				{"name":"c","destination":"kafka://c","sampling_rate":0}]}`, `{"x":1,"price":1000}`,
			`{"id":"e-1","strategy":"best_effort","deliveries":[` +
				`{"target":"a","destination":"a","decision":"skip","reason":"condition","condition":"payload.price: {\"$gt\":1000}","delay_seconds":0,"retry_policy":"default","payload":null},` +
				`{"target":"b","destination":"b","decision":"deliver","reason":"matched","delay_seconds":5,"retry_policy":"aggressive","payload":{"x":1}},` +
				`{"target":"c","destination":"kafka://c","decision":"skip","reason":"sampling","delay_seconds":0,"retry_policy":"default","payload":null}],"error":""}`,
		},
		{
			"fallback", `{"fallback":"f","targets":[{"destination":"a","conditions":{"$or":[{"payload.x":2},{"topic":"y"}]}}]}`, `{"x":1}`,
			`{"id":"e-1","strategy":"best_effort","deliveries":[` +
				`{"target":"a","destination":"a","decision":"skip","reason":"condition","condition":"$or: [{\"payload.x\":2},{\"topic\":\"y\"}]","delay_seconds":0,"retry_policy":"default","payload":null},` +
				`{"target":"f","destination":"f","decision":"deliver","reason":"fallback","delay_seconds":0,"retry_policy":"default","payload":{"x":1}}],"error":""}`,
		},
		{
			"a sampling miss is no reason to fall back", `{"fallback":"f","targets":[{"destination":"a","sampling_rate":0}]}`, `{}`,
			`{"id":"e-1","strategy":"best_effort","deliveries":[` +
				`{"target":"a","destination":"a","decision":"skip","reason":"sampling","delay_seconds":0,"retry_policy":"default","payload":null}],"error":""}`,
		},
		{
			"no JSON", `{"targets":[{"destination":"a"}]}`, "plain <text>",
			`{"id":"e-1","strategy":"best_effort","deliveries":[` +
				`{"target":"a","destination":"a","decision":"deliver","reason":"matched","delay_seconds":0,"retry_policy":"default","payload":"plain \u003ctext\u003e"}],"error":""}`,
		},
		{
			"bytes", `{"targets":[{"destination":"a"}]}`, "\xff",
			`{"id":"e-1","strategy":"best_effort","deliveries":[` +
				`{"target":"a","destination":"a","decision":"deliver","reason":"matched","delay_seconds":0,"retry_policy":"default","payload":"/w=="}],"error":""}`,
		},
		{
			"one target cannot be planned", `{"fallback":"f","targets":[{"destination":"a","conditions":{"payload.x":1}},{"destination":"b"}]}`, "no JSON",
			`{"id":"e-1","strategy":"best_effort","deliveries":[` +
				`{"target":"a","destination":"a","decision":"skip","reason":"error","delay_seconds":0,"retry_policy":"default","payload":null},` +
				`{"target":"b","destination":"b","decision":"deliver","reason":"matched","delay_seconds":0,"retry_policy":"default","payload":"no JSON"},` +
				`{"target":"a","destination":"f","decision":"deliver","reason":"fallback","delay_seconds":0,"retry_policy":"default","payload":"no JSON"}],` +
				`"error":"target \"a\": payload is not JSON at byte 0, and a condition looks into it"}`,
		},
		{
			"all or nothing", `{"strategy":"all_or_nothing","fallback":"f","targets":[{"destination":"b"},{"destination":"a","conditions":{"payload.x":1}}]}`, "no JSON",
			`{"id":"e-1","strategy":"all_or_nothing","deliveries":[` +
				`{"target":"b","destination":"b","decision":"skip","reason":"error","delay_seconds":0,"retry_policy":"default","payload":null},` +
				`{"target":"a","destination":"a","decision":"skip","reason":"error","delay_seconds":0,"retry_policy":"default","payload":null}],` +
				`"error":"target \"a\": payload is not JSON at byte 0, and a condition looks into it"}`,
		},
		{
			"bad config", `{"targets":[{}]}`, `{}`,
			`{"id":"e-1","strategy":"","deliveries":[],"error":"routing_config: invalid config: /targets/0: has no \"destination\""}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := router.Explain(table(t, router.Config{}), &router.Event{ID: "e-1", CreatedAt: created, RoutingConfig: c.config, Payload: []byte(c.payload)}, nil)
			got, err := json.Marshal(x)
			if err != nil || string(got) != c.want {
				t.Fatalf("got  %s\nwant %s\n%v", got, c.want, err)
			}
		})
	}
}

func TestExplainNamesTheRoute(t *testing.T) {
	t.Parallel()
	routes, err := router.ParseRoutes([]byte(`{"routing_version":3,"routes":[{"topic":"a.*","config":{"targets":[{"destination":"x"}]}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	live := router.NewLive(table(t, router.Config{Routes: routes}))
	if x := router.Explain(live, &router.Event{Topic: "a.b"}, nil); x.Route != "a.*" || x.Version != "3" || string(x.Deliveries[0].Bytes) != "" {
		t.Fatalf("%+v", x)
	}
}

package router_test

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/router"
)

func ExampleBuilder() {
	config, err := router.NewBuilder().
		Fallback("default.events").
		Target(router.TargetConfig{Destination: "kafka://search.index"}, router.If("payload.visible", true)).
		Target(router.TargetConfig{
			Destination: "redis://vip.notifications",
			Transform:   &middleware.TransformConfig{IncludeFields: []string{"id", "name", "price"}},
			RetryPolicy: "aggressive",
		}, router.If("payload.price", router.Op{"$gt": 1000})).
		Target(router.TargetConfig{Destination: "analytics.events", SamplingRate: new(0.1), DelaySeconds: 5}).
		JSON()
	fmt.Println(string(config), err)
	// Output: {"version":1,"fallback":"default.events","targets":[{"destination":"kafka://search.index","conditions":{"payload.visible":true}},{"destination":"redis://vip.notifications","conditions":{"payload.price":{"$gt":1000}},"transform":{"include_fields":["id","name","price"]},"retry_policy":"aggressive"},{"destination":"analytics.events","sampling_rate":0.1,"delay_seconds":5}]} <nil>
}

func ExampleTable_Resolve() {
	routes, err := router.ParseRoutes([]byte(`
routing_version: "2025-03"
routes:
  - topic: orders.*
    config:
      targets:
        - destination: kafka://orders
        - destination: redis://large.orders
          when: payload.total > payload.limit
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	table, err := router.NewTable(router.Config{Routes: routes, Publishers: []string{"kafka", "redis"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	event := &router.Event{ID: "1", Topic: "orders.created", Payload: []byte(`{"total": 120, "limit": 100}`)}
	plan, err := table.Resolve(event)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, target := range plan.Targets {
		decision, err := target.Decide(event)
		fmt.Println(target.Destination, decision.Deliver, decision.Reason, err)
	}
	// Output:
	// kafka://orders true matched <nil>
	// redis://large.orders true matched <nil>
}

func ExampleExplain() {
	table, err := router.NewTable(router.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	explanation := router.Explain(table, &router.Event{
		ID: "1", Topic: "products", Payload: []byte(`{"price":10}`),
		RoutingConfig: `{"fallback":"rest","targets":[{"destination":"vip","conditions":{"payload.price":{"$gt":1000}}}]}`,
	}, nil)
	_ = json.NewEncoder(os.Stdout).Encode(explanation)
	// Output: {"id":"1","strategy":"best_effort","deliveries":[{"target":"vip","destination":"vip","decision":"skip","reason":"condition","condition":"payload.price: {\"$gt\":1000}","delay_seconds":0,"retry_policy":"default","payload":null},{"target":"rest","destination":"rest","decision":"deliver","reason":"fallback","delay_seconds":0,"retry_policy":"default","payload":{"price":10}}],"error":""}
}

func ExampleTable_Validate() {
	table, err := router.NewTable(router.Config{Publishers: []string{"kafka", "redis"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(table.Validate([]byte(`{"targets":[{"destination":"kafak://orders","retry_polcy":"aggressive","sampling_rate":2}]}`)))
	// Output: invalid config: /targets/0/retry_polcy: unknown key "retry_polcy", did you mean "retry_policy"?; /targets/0/destination: unknown publisher "kafak", did you mean "kafka"?; /targets/0/sampling_rate: is 2, must be between 0 and 1
}

package main

import "github.com/bento-outbox/watermill-outbox/router"

// docs:builder
// routes sends every event of an order to orders.all, and what says that a large one was placed to orders.large as well.
func routes() (*router.Table, error) {
	config, err := router.NewBuilder().
		Target("shop://orders.all").
		Target("shop://orders.large",
			router.If("topic", "orders.placed"),
			router.If("payload.total", router.Gte(1000)),
			router.RetryPolicy("aggressive")).
		JSON()
	if err != nil {
		return nil, err
	}
	return router.NewTable(router.Config{
		Routes:     router.Routes{Routes: []router.Route{{Topic: "orders.*", Config: string(config)}}},
		Publishers: []string{"shop"},
	})
}

// docs:end

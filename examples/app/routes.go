package main

import "github.com/bento-outbox/watermill-outbox/router"

// docs:builder
// routes sends every event of an order to orders.all, and what says that a large one was placed to orders.large as well.
func routes() (*router.Table, error) {
	config, err := router.NewBuilder().
		Target(router.TargetConfig{Destination: "shop://orders.all"}).
		Target(router.TargetConfig{Destination: "shop://orders.large", RetryPolicy: "aggressive"},
			router.If("topic", "orders.placed"),
			router.If("payload.total", router.Op{"$gte": 1000})).
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

package main

import (
	_ "embed"
	"time"

	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/router"
)

//go:embed routes.yaml
var routesFile []byte

// newRoutes returns the routes of the file. In a destination such as kafka://orders, orders is the topic and kafka the name
// of a publisher.
func newRoutes() (*router.Table, error) {
	routes, err := router.ParseRoutes(routesFile)
	if err != nil {
		return nil, err
	}
	return router.NewTable(router.Config{
		Routes:     routes,
		Publishers: []string{"kafka", "redis", "webhook"},
		Policies: map[string]middleware.RetryPolicy{
			// Production waits longer between two attempts; nobody waits that long for a demo.
			"default": {MaxAttempts: 40, InitialInterval: 50 * time.Millisecond, Multiplier: 2, MaxInterval: 200 * time.Millisecond, Jitter: 0.2},
		},
	})
}

// productRouting is the config that each event about a product carries.
func productRouting() ([]byte, error) {
	return router.NewBuilder().
		Target(router.TargetConfig{Destination: "kafka://search.index"},
			router.If("payload.visible", true)).
		Target(router.TargetConfig{
			Destination: "redis://vip.notifications",
			Transform:   &middleware.TransformConfig{IncludeFields: []string{"id", "name", "price"}},
			RetryPolicy: "aggressive",
		}, router.If("payload.price", router.Op{"$gt": 1000})).
		Fallback("kafka://other.products").
		JSON()
}

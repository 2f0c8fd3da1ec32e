package main

import (
	"context"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/forwarder"
)

// newForwarder delivers the shop's events to publishers, as routes says. A destination that names no publisher is a topic of Kafka.
func newForwarder(ctx context.Context, db *database, routes forwarder.Resolver, publishers map[string]message.Publisher, logger watermill.LoggerAdapter) (*forwarder.Forwarder, error) {
	return forwarder.New(db.DB, publishers, forwarder.Config{
		Subscriber:        forwarder.SubscriberConfig{Schema: db.outbox},
		Routes:            routes,
		DefaultPublisher:  "kafka",
		PoisonDestination: poison,
	}, logger)
}

// start runs f until stop is called, which returns when what was in flight is written down.
func start(f *forwarder.Forwarder) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	return sync.OnceValue(func() error {
		cancel()
		return <-done
	})
}

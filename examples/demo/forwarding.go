package main

import (
	"context"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/router"
)

// newForwarder delivers the shop's events to publishers, which events call by name: kafka://orders is the topic orders at
// the publisher "kafka". Events that name none go to Kafka too.
func newForwarder(ctx context.Context, db *database, publishers map[string]message.Publisher, logger watermill.LoggerAdapter) (*forwarder.Forwarder, error) {
	routes, err := router.NewTable(router.Config{
		Policies: map[string]middleware.RetryPolicy{
			// Production waits longer between two attempts; nobody waits that long for a demo.
			"default": {MaxAttempts: 40, InitialInterval: 50 * time.Millisecond, Multiplier: 2, MaxInterval: 200 * time.Millisecond, Jitter: 0.2},
		},
	})
	if err != nil {
		return nil, err
	}
	return forwarder.New(ctx, db.DB, publishers, forwarder.Config{
		Subscriber:       forwarder.SubscriberConfig{Schema: db.outbox},
		Routes:           routes,
		DefaultPublisher: "kafka",
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

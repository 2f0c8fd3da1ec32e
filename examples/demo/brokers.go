package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
)

// brokers are Kafka, Redis and a webhook, with the publishers that the forwarder uses and a consumer for each destination.
type brokers struct {
	publishers   map[string]message.Publisher
	destinations []*destination

	cleanUp []func() error // in reverse
}

func startBrokers(ctx context.Context, redisURL string, logger watermill.LoggerAdapter) (_ *brokers, err error) {
	b := &brokers{publishers: map[string]message.Publisher{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.stop())
		}
	}()
	if err := b.startKafka(ctx, logger); err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	if err := b.startRedis(ctx, redisURL, logger); err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	if err := b.startWebhook(ctx, logger); err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	return b, nil
}

// waitUntilConsumed returns when the consumers have received everything that the brokers hold.
func (b *brokers) waitUntilConsumed(ctx context.Context) error {
	for _, d := range b.destinations {
		if err := d.waitUntilConsumed(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *brokers) atStop(f func() error) { b.cleanUp = append(b.cleanUp, f) }

func (b *brokers) stop() error {
	var errs []error
	for i := len(b.cleanUp) - 1; i >= 0; i-- {
		errs = append(errs, b.cleanUp[i]())
	}
	return errors.Join(errs...)
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// destination is a topic of a broker, and a consumer that notes what arrives there.
type destination struct {
	name       string // for people
	routingKey string // for events; empty for the topic of the default publisher
	topic      string
	length     func(ctx context.Context, topic string) (int64, error) // how many messages the broker holds

	mu       sync.Mutex
	received []order
}

// consume receives messages with Watermill's own subscriber, until that is closed.
func (d *destination) consume(ctx context.Context, subscriber message.Subscriber) error {
	messages, err := subscriber.Subscribe(ctx, d.topic)
	if err != nil {
		return err
	}
	go func() {
		for msg := range messages {
			var o order
			if json.Unmarshal(msg.Payload, &o) != nil {
				o = order{ID: "not an order: " + msg.UUID} // which the report finds to be unexpected
			}
			d.mu.Lock()
			d.received = append(d.received, o)
			d.mu.Unlock()
			msg.Ack()
		}
	}()
	return nil
}

// events returns what was received so far, in the order of its arrival.
func (d *destination) events() []order {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.received)
}

func (d *destination) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.received)
}

func (d *destination) waitUntilConsumed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	held, err := d.length(ctx, d.topic)
	if err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for int64(d.count()) < held {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: consumed %d of the %d messages there: %w", d.name, d.count(), held, ctx.Err())
		}
	}
	return nil
}

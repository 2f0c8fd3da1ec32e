package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// destination is a topic of a broker, and a consumer that notes what arrives there.
type destination struct {
	name   string // that routes call it by
	broker string
	topic  string                                                 // as the broker calls it
	length func(ctx context.Context, topic string) (int64, error) // how many messages the broker holds; nil when it holds none

	mu       sync.Mutex
	received []arrival
}

// consume receives messages with Watermill's own subscriber, until that is closed.
func (d *destination) consume(ctx context.Context, subscriber message.Subscriber) error {
	messages, err := subscriber.Subscribe(ctx, d.topic)
	if err != nil {
		return err
	}
	go func() {
		for msg := range messages {
			d.receive(msg)
			msg.Ack()
		}
	}()
	return nil
}

func (d *destination) receive(msg *message.Message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.received = append(d.received, arrival{msg.UUID, string(msg.Payload)})
}

// arrivals returns what was received so far, in the order of its arrival.
func (d *destination) arrivals() []arrival {
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
	if d.length == nil {
		return nil
	}
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

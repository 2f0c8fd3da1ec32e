package kafka

import (
	"context"
	"sync"

	"github.com/IBM/sarama"

	"github.com/bento-outbox/watermill-outbox/adapters"
)

// connection is a producer that is made when it is first needed, and again after that failed. However many callers need
// it, one attempt is under way at a time and all of them wait for it.
type connection struct {
	brokers []string
	config  *sarama.Config

	mu       sync.Mutex
	producer sarama.AsyncProducer
	attempt  *attempt
	closed   bool
	drained  sync.WaitGroup
}

type attempt struct {
	done chan struct{}
	err  error // set before done is closed
}

func (c *connection) get(ctx context.Context) (sarama.AsyncProducer, error) {
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return nil, adapters.ErrClosed
		}
		if c.producer != nil {
			defer c.mu.Unlock()
			return c.producer, nil
		}
		a := c.attempt
		if a == nil {
			a = &attempt{done: make(chan struct{})}
			c.attempt = a
			c.drained.Go(func() { c.connect(a) })
		}
		c.mu.Unlock()

		select {
		case <-a.done:
			if a.err != nil {
				return nil, a.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *connection) connect(a *attempt) {
	// Not NewAsyncProducer: it leaves its client behind, with a goroutine, when it fails.
	client, err := sarama.NewClient(c.brokers, c.config)
	var producer sarama.AsyncProducer
	if err == nil {
		if producer, err = sarama.NewAsyncProducerFromClient(client); err != nil {
			_ = client.Close()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(a.done)
	c.attempt, a.err = nil, err
	if err != nil {
		return
	}
	c.producer = producer
	var results sync.WaitGroup
	results.Go(func() {
		for record := range producer.Successes() {
			record.Metadata.(chan error) <- nil
		}
	})
	results.Go(func() {
		for failed := range producer.Errors() {
			failed.Msg.Metadata.(chan error) <- failed.Err
		}
	})
	c.drained.Go(func() {
		results.Wait() // until the producer is closed
		_ = client.Close()
	})
	if c.closed {
		producer.AsyncClose()
	}
}

// send returns when the broker has acknowledged record, refused it or ctx has ended.
func (c *connection) send(ctx context.Context, record *sarama.ProducerMessage) error {
	producer, err := c.get(ctx)
	if err != nil {
		return err
	}
	result := make(chan error, 1) // has room, so that nobody waits for a caller that left
	record.Metadata = result
	select {
	case producer.Input() <- record:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close sends what the producer still holds and waits for it. Nobody may be in send.
func (c *connection) close() {
	c.mu.Lock()
	c.closed = true
	if c.producer != nil {
		c.producer.AsyncClose()
	}
	c.mu.Unlock()
	c.drained.Wait()
}

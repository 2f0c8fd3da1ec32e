package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/IBM/sarama"
	"github.com/eapache/go-resiliency/breaker"

	"github.com/bento-outbox/watermill-outbox/adapters"
)

// connection is a producer that is made when it is first needed, and again after that failed. However many callers need
// it, one attempt is under way at a time and all of them wait for it.
type connection struct {
	brokers []string
	config  *sarama.Config

	mu       sync.Mutex
	producer *producer
	attempt  *attempt
	closed   bool
	refused  map[string]error // topics, and why; all of them, under the name ""
	refusing atomic.Bool      // whether there are any
	failures atomic.Int64     // how often one was refused
	drained  sync.WaitGroup
}

// producer counts the callers that hand a record over, for it must not be closed meanwhile.
type producer struct {
	sarama.AsyncProducer
	callers sync.WaitGroup
}

type attempt struct {
	done chan struct{}
	err  error // set before done is closed
}

// get returns the producer, of which the caller is one of the callers.
func (c *connection) get(ctx context.Context) (*producer, error) {
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return nil, adapters.ErrClosed
		}
		if c.producer != nil {
			defer c.mu.Unlock()
			c.producer.callers.Add(1)
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
			err := fmt.Errorf("no connection in time: %w", ctx.Err())
			if errors.Is(err, context.DeadlineExceeded) {
				err = adapters.Unavailable(err) // nothing was sent
			}
			return nil, err
		}
	}
}

func (c *connection) connect(a *attempt) {
	// Not NewAsyncProducer: it leaves its client behind, with a goroutine, when it fails.
	client, err := sarama.NewClient(c.brokers, c.config)
	made := &producer{}
	if err == nil {
		if made.AsyncProducer, err = sarama.NewAsyncProducerFromClient(client); err != nil {
			_ = client.Close()
		}
	}
	if errors.Is(err, io.EOF) && !c.config.Net.TLS.Enable {
		err = fmt.Errorf("%w: the broker hangs up; if it wants TLS, set tls=true or tls_ca", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(a.done)
	c.attempt, a.err = nil, err
	if err != nil {
		return
	}
	c.producer = made
	var results sync.WaitGroup
	results.Go(func() {
		for record := range made.Successes() {
			c.remember(record.Topic, nil)
			record.Metadata.(chan error) <- nil
		}
	})
	results.Go(func() {
		for failed := range made.Errors() {
			c.remember(failed.Msg.Topic, failed.Err)
			failed.Msg.Metadata.(chan error) <- failed.Err
		}
	})
	c.drained.Go(func() {
		results.Wait() // until the producer is closed
		_ = client.Close()
	})
	if c.closed {
		made.AsyncClose()
	}
}

// leave makes the next caller connect anew. What p still holds ends by itself.
func (c *connection) leave(p *producer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.producer == p && !c.closed {
		c.producer = nil
		c.drained.Go(func() {
			p.callers.Wait()
			p.AsyncClose()
		})
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
		producer.callers.Done()
	case <-ctx.Done():
		producer.callers.Done()
		return ctx.Err()
	}
	select {
	case err := <-result:
		if errors.Is(err, breaker.ErrBreakerOpen) {
			return c.resting(producer, record.Topic, err)
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// resting is what comes of err, which the driver returns for ten seconds without asking the brokers, after a topic failed three times. Where the
// topic is the cause it is that again; else the brokers may be back long before the driver looks, and a new producer does.
func (c *connection) resting(p *producer, topic string, err error) error {
	c.mu.Lock()
	cause := c.refused[topic]
	c.mu.Unlock()
	if cause != nil {
		return fmt.Errorf("%w (the driver asks again within 10 s)", cause)
	}
	c.leave(p)
	return adapters.Unavailable(err)
}

// maxRefused bounds the memory of topics that were refused.
const maxRefused = 1000

// remember keeps why a topic, or everything, was refused, and forgets it when it is not any more.
func (c *connection) remember(topic string, err error) {
	if err == nil && !c.refusing.Load() || errors.Is(err, breaker.ErrBreakerOpen) {
		return
	}
	verdict := adapters.Blame(blame(err))
	c.mu.Lock()
	defer c.mu.Unlock()
	if verdict != adapters.BlameTopic {
		delete(c.refused, topic)
	}
	if verdict != adapters.BlamePublisher && verdict != adapters.BlameSilence {
		delete(c.refused, "")
	}
	if verdict == adapters.BlameTopic || verdict == adapters.BlamePublisher {
		if c.refused == nil || len(c.refused) >= maxRefused {
			c.refused = map[string]error{}
		}
		if verdict == adapters.BlamePublisher {
			topic = ""
		}
		c.refused[topic] = err
		c.failures.Add(1)
	}
	c.refusing.Store(len(c.refused) > 0)
}

// cause returns why topic, or everything, is refused, if something was since there were as many failures.
func (c *connection) cause(topic string, failures int64) error {
	if c.failures.Load() == failures {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return cmp.Or(c.refused[topic], c.refused[""])
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

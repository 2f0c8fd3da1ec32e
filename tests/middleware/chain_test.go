package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

// pubSub is what one handler reads from, passes messages on to and puts poisoned ones in.
type pubSub struct {
	pub message.Publisher
	sub message.Subscriber
	// durable tells that the subscriber writes outcomes down: what fails for good is not delivered again and again.
	durable bool
}

// chain is all the middlewares, the poison queue first, which is outermost.
func chain(t *testing.T, poison message.Publisher) []message.HandlerMiddleware {
	t.Helper()
	poisonQueue, err := middleware.PoisonQueue(poison, "poison")
	require.NoError(t, err)
	retry, err := middleware.Retry(middleware.RetryPolicy{MaxAttempts: 3, InitialInterval: time.Millisecond, Multiplier: 1}, nil)
	require.NoError(t, err)
	match, err := middleware.Match(middleware.MatchConfig{Conditions: `{"payload.n": {"$lt": 10}, "topic": "in"}`})
	require.NoError(t, err)
	sample, err := middleware.Sample(middleware.SampleConfig{Rate: 0.5, Key: "payload.customer", Target: "sample"})
	require.NoError(t, err)
	transform, err := middleware.Transform(middleware.TransformConfig{ExcludeFields: []string{"customer"}, AddFields: map[string]any{"seen": true}})
	require.NoError(t, err)
	return []message.HandlerMiddleware{poisonQueue, retry, match, sample, middleware.Delay(middleware.DelayConfig{By: 50 * time.Millisecond}), transform}
}

// chainTransform is a transform that leaves the customer for the sample to see.
func chainTransform(t *testing.T) message.HandlerMiddleware {
	t.Helper()
	transform, err := middleware.Transform(middleware.TransformConfig{AddFields: map[string]any{"seen": true}})
	require.NoError(t, err)
	return transform
}

// customers returns one that the sample of chain takes and one that it does not.
func customers(t *testing.T) (taken, left string) {
	t.Helper()
	sample, err := middleware.Sample(middleware.SampleConfig{Rate: 0.5, Key: "payload.customer", Target: "sample"})
	require.NoError(t, err)
	for i := 0; taken == "" || left == ""; i++ {
		name, hit := fmt.Sprintf("c%d", i), false
		_, err := sample(func(*message.Message) ([]*message.Message, error) {
			hit = true
			return nil, nil
		})(message.NewMessage("1", fmt.Appendf(nil, `{"customer":%q}`, name)))
		require.NoError(t, err)
		if hit {
			taken = name
		} else {
			left = name
		}
	}
	return taken, left
}

// testChain runs the whole chain on one handler, in its own order or reversed.
func testChain(t *testing.T, ps pubSub, reversed bool) {
	taken, left := customers(t)
	mws := chain(t, ps.pub)
	if reversed {
		slices.Reverse(mws)
		// Transform comes first and takes the customer away, so that the sample falls back to the id. Let it keep that.
		mws[0] = chainTransform(t)
	}
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: 20 * time.Second}, watermill.NopLogger{})
	require.NoError(t, err)
	calls := &counter{}
	router.AddHandler("handler", "in", ps.sub, "out", ps.pub, func(msg *message.Message) ([]*message.Message, error) {
		n := calls.add(msg.UUID)
		if msg.UUID == "fails" || msg.UUID == "recovers" && n < 3 {
			return nil, errors.New("handler failed")
		}
		if msg.UUID == "hopeless" {
			return nil, middleware.Permanent(errors.New("handler gave up"))
		}
		return []*message.Message{msg}, nil
	}).AddMiddleware(mws...)
	out, err := ps.sub.Subscribe(t.Context(), "out")
	require.NoError(t, err)
	poison, err := ps.sub.Subscribe(t.Context(), "poison")
	require.NoError(t, err)
	stopped := run(t, router)

	payloads := map[string]string{}
	for id, body := range map[string]string{"passes": "1", "filtered": "10", "recovers": "2", "fails": "3", "hopeless": "4"} {
		payloads[id] = fmt.Sprintf(`{"n": %s,"customer":%q}`, body, taken)
	}
	payloads["sampled out"] = fmt.Sprintf(`{"n": 5,"customer":%q}`, left)
	want := []string{"fails", "hopeless"}
	if !reversed {
		payloads["no JSON"] = "n = 6" // the poison queue is outermost, and sees what the others return
		want = append(want, "no JSON")
	} else if ps.durable {
		payloads["no JSON"] = "n = 6" // dead where it is stored; anybody else would deliver it for ever
	}
	for id, payload := range payloads {
		msg := message.NewMessage(id, []byte(payload))
		msg.Metadata.Set("own", id)
		require.NoError(t, ps.pub.Publish("in", msg))
	}

	passed, poisoned := receive(t, out, 2), receive(t, poison, len(want))
	for id, n := range map[string]int{"passes": 1, "recovers": 2} {
		require.Contains(t, passed, id)
		require.Equal(t, id, passed[id].Metadata.Get("own"))
		if reversed {
			require.Equal(t, fmt.Sprintf(`{"n": %d,"customer":%q,"seen":true}`, n, taken), string(passed[id].Payload))
		} else {
			require.Equal(t, fmt.Sprintf(`{"n": %d,"seen":true}`, n), string(passed[id].Payload))
		}
	}
	for _, id := range want {
		require.Contains(t, poisoned, id)
		m := poisoned[id].Metadata
		require.Equal(t, []string{"in", "handler", id}, []string{m["topic_poisoned"], m["handler_poisoned"], m["own"]})
		require.NotEmpty(t, m["reason_poisoned"])
		if !reversed {
			require.Equal(t, payloads[id], string(poisoned[id].Payload), "as it came")
		}
	}
	require.Equal(t, "handler failed", poisoned["fails"].Metadata["reason_poisoned"])
	require.NoError(t, router.Close())
	require.NoError(t, <-stopped)
	require.NoError(t, ps.sub.Close()) // waits until what was acknowledged is written down
	require.Equal(t, map[string]int{"passes": 1, "recovers": 3, "fails": 3, "hopeless": 1}, calls.all())
}

// testCancellation stops a Router whose handler fails because of that, under Retry and PoisonQueue, and starts another one, which gets
// the message again. It was neither tried again in place nor poisoned.
//
// after is called when the Router of a round is closed.
func testCancellation(t *testing.T, open func(t *testing.T) pubSub, reversed bool, after func(round int)) {
	taken, _ := customers(t)
	var poisoned counter
	for round := range 2 {
		ps := open(t)
		mws := chain(t, counting{ps.pub, &poisoned})
		if reversed {
			slices.Reverse(mws[:2])
		}
		router, err := message.NewRouter(message.RouterConfig{CloseTimeout: 20 * time.Second}, watermill.NopLogger{})
		require.NoError(t, err)
		called := make(chan struct{}, 10)
		router.AddConsumerHandler("handler", "in", ps.sub, func(msg *message.Message) error {
			called <- struct{}{}
			if round == 0 {
				<-msg.Context().Done()
				return msg.Context().Err()
			}
			return nil
		}).AddMiddleware(mws...)
		stopped := run(t, router)
		if round == 0 {
			require.NoError(t, ps.pub.Publish("in", message.NewMessage("1", fmt.Appendf(nil, `{"n":1,"customer":%q}`, taken))))
		}
		select {
		case <-called:
		case <-time.After(await.Patience):
			t.Fatalf("round %d: the handler was not called", round)
		}
		require.NoError(t, router.Close())
		require.NoError(t, <-stopped)
		require.NoError(t, ps.sub.Close())
		require.Empty(t, called)
		after(round)
	}
	require.Empty(t, poisoned.all())
}

// counting is a publisher that counts by topic.
type counting struct {
	message.Publisher
	n *counter
}

func (c counting) Publish(topic string, msgs ...*message.Message) error {
	c.n.add(topic)
	return c.Publisher.Publish(topic, msgs...)
}

type counter struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *counter) add(key string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[key]++
	return c.n[key]
}

func (c *counter) get(key string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[key]
}

func (c *counter) all() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// run starts router and returns when it runs. What Run returns is in the channel.
func run(t *testing.T, router *message.Router) <-chan error {
	t.Helper()
	stopped := make(chan error, 1)
	go func() { stopped <- router.Run(context.Background()) }()
	t.Cleanup(func() { _ = router.Close() }) // after a failure
	select {
	case <-router.Running():
	case err := <-stopped:
		t.Fatal(err)
	}
	return stopped
}

func receive(t *testing.T, messages <-chan *message.Message, n int) map[string]*message.Message {
	t.Helper()
	got := map[string]*message.Message{}
	for range n {
		select {
		case m := <-messages:
			m.Ack()
			got[m.UUID] = m
		case <-time.After(await.Patience):
			t.Fatalf("got %v, want %d messages", got, n)
		}
	}
	return got
}

package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/event"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

type pubSub struct {
	message.Publisher
	message.Subscriber
}

func (p pubSub) Close() error { return errors.Join(p.Publisher.Close(), p.Subscriber.Close()) }

func goChannel(*testing.T) pubSub {
	c := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 100, Persistent: true}, watermill.NopLogger{})
	return pubSub{c, c}
}

func redisStreams(t *testing.T) pubSub {
	t.Helper()
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	pub, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	sub, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client: redis.NewClient(&redis.Options{Addr: server.Addr()}), ConsumerGroup: "group", NackResendSleep: time.Millisecond, BlockTime: 10 * time.Millisecond,
	}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	return pubSub{pub, sub}
}

// TestMiddlewaresInARouter runs all of them on one handler, added in two orders, with several Pub/Subs. A handler that passes its
// message on, a neighbour that handles the same messages, and a poison queue see what they should.
func TestMiddlewaresInARouter(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) pubSub{"GoChannel": goChannel, "Redis Streams": redisStreams} {
		for _, reversed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, reversed %v", name, reversed), func(t *testing.T) {
				t.Parallel()
				testInARouter(t, open(t), reversed)
			})
		}
	}
}

func testInARouter(t *testing.T, ps pubSub, reversed bool) {
	must := func(mw message.HandlerMiddleware, err error) message.HandlerMiddleware {
		if err != nil {
			t.Fatal(err)
		}
		return mw
	}
	mws := []message.HandlerMiddleware{
		must(middleware.PoisonQueue(ps, "poison")),
		must(middleware.Retry(middleware.RetryPolicy{MaxAttempts: 3, InitialInterval: time.Millisecond, Multiplier: 1}, nil)),
		must(middleware.Match(middleware.MatchConfig{Conditions: `{"payload.n": {"$lt": 10}, "topic": "in"}`})),
		must(middleware.Sample(middleware.SampleConfig{Rate: 1})),
		middleware.Delay(middleware.DelayConfig{By: time.Millisecond}),
		must(middleware.Transform(middleware.TransformConfig{AddFields: map[string]any{"seen": true}})),
	}
	if reversed {
		for i, j := 0, len(mws)-1; i < j; i, j = i+1, j-1 {
			mws[i], mws[j] = mws[j], mws[i]
		}
	}
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: 10 * time.Second}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	tries := map[string]int{}
	router.AddHandler("handler", "in", ps, "out", ps, func(msg *message.Message) ([]*message.Message, error) {
		mu.Lock()
		defer mu.Unlock()
		tries[msg.UUID]++
		switch {
		case msg.UUID == "recovers" && tries[msg.UUID] < 3, msg.UUID == "fails":
			return nil, errors.New("handler failed")
		}
		return []*message.Message{msg}, nil
	}).AddMiddleware(mws...)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	out, err := ps.Subscribe(ctx, "out")
	if err != nil {
		t.Fatal(err)
	}
	poison, err := ps.Subscribe(ctx, "poison")
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error)
	go func() { stopped <- router.Run(ctx) }()
	<-router.Running()

	inputs := map[string]string{"passes": `{"n": 1}`, "filtered": `{"n": 10}`, "recovers": `{"n": 2}`, "fails": `{"n": 3}`}
	if !reversed { // the poison queue is outermost, and sees what the others return
		inputs["no JSON"] = "n = 4"
	}
	for id, payload := range inputs {
		if err := ps.Publish("in", message.NewMessage(id, []byte(payload))); err != nil {
			t.Fatal(err)
		}
	}
	passed, poisoned := receive(t, out, 2), receive(t, poison, len(inputs)-3)
	if string(passed["passes"].Payload) != `{"n": 1,"seen":true}` || string(passed["recovers"].Payload) != `{"n": 2,"seen":true}` {
		t.Errorf("passed on are %v", passed)
	}
	if m := poisoned["fails"]; m == nil || m.Metadata["reason_poisoned"] != "handler failed" || m.Metadata["topic_poisoned"] != "in" || m.Metadata["handler_poisoned"] != "handler" {
		t.Errorf("poisoned are %v", poisoned)
	}
	if m := poisoned["no JSON"]; !reversed && (m == nil || string(m.Payload) != "n = 4") {
		t.Errorf("poisoned are %v", poisoned)
	}
	cancel()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if err := ps.Close(); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if tries["passes"] != 1 || tries["recovers"] != 3 || tries["fails"] != 3 || tries["filtered"]+tries["no JSON"] != 0 {
		t.Errorf("tries are %v", tries)
	}
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

// TestFanOutLeavesNeighboursAlone hands copies that share a payload to handlers that change it.
func TestFanOutLeavesNeighboursAlone(t *testing.T) {
	t.Parallel()
	transform, err := middleware.Transform(middleware.TransformConfig{FieldMapping: map[string]string{"a": "b"}, AddFields: map[string]any{"c": 1}})
	if err != nil {
		t.Fatal(err)
	}
	original := message.NewMessage("1", []byte(`{"a":1}`))
	original.Metadata.Set("k", "v")
	var group sync.WaitGroup
	for range 8 {
		c := original.Copy()
		group.Go(func() {
			_, err := transform(func(m *message.Message) ([]*message.Message, error) {
				m.Metadata.Set("own", "x")
				if string(m.Payload) != `{"b":1,"c":1}` {
					t.Errorf("payload is %s", m.Payload)
				}
				return nil, nil
			})(c)
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if string(original.Payload) != `{"a":1}` || len(original.Metadata) != 1 {
		t.Errorf("the original has %s, %v", original.Payload, original.Metadata)
	}
}

func TestSampleGoesByTheNameOfItsHandler(t *testing.T) {
	t.Parallel()
	ps := gochannel.NewGoChannel(gochannel.Config{BlockPublishUntilSubscriberAck: true}, watermill.NopLogger{})
	sample, err := middleware.Sample(middleware.SampleConfig{Rate: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	handled := map[string]bool{}
	router.AddConsumerHandler("analytics.events", "in", ps, func(msg *message.Message) error {
		handled[msg.UUID] = true
		return nil
	}).AddMiddleware(sample)
	go func() { _ = router.Run(context.Background()) }()
	<-router.Running()
	s := sampler("analytics.events", "")
	for i := range 50 {
		id := fmt.Sprint(i)
		if err := ps.Publish("in", message.NewMessage(id, nil)); err != nil {
			t.Fatal(err)
		}
		if want := s(&event.Event{ID: id}); handled[id] != want {
			t.Errorf("%s: handled %v", id, handled[id])
		}
	}
	if err := errors.Join(router.Close(), ps.Close()); err != nil {
		t.Error(err)
	}
}

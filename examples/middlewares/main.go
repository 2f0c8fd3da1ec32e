// Middlewares adds single middlewares to handlers that a Watermill application has anyway, on a Pub/Sub that knows nothing of an
// outbox.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	wm "github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/bento-outbox/watermill-outbox/middleware"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	logger := watermill.NopLogger{}
	pubSub := gochannel.NewGoChannel(gochannel.Config{BlockPublishUntilSubscriberAck: true}, logger)
	router, err := message.NewRouter(message.RouterConfig{}, logger)
	if err != nil {
		return err
	}
	show := func(name string) *message.Handler {
		return router.AddConsumerHandler(name, name, pubSub, func(msg *message.Message) error {
			fmt.Printf("%s: %s\n", name, msg.Payload)
			return nil
		})
	}

	// docs:middlewares
	// Only what costs more than 1,000, and of that two fields.
	match, err := middleware.Match(middleware.MatchConfig{Conditions: `{"payload.price": {"$gt": 1000}}`})
	if err != nil {
		return err
	}
	transform, err := middleware.Transform(middleware.TransformConfig{IncludeFields: []string{"id", "price"}})
	if err != nil {
		return err
	}
	show("vip").AddMiddleware(match, transform)

	// Half of the customers, and all events of those.
	sample, err := middleware.Sample(middleware.SampleConfig{Rate: 0.5, Key: "payload.customer"})
	if err != nil {
		return err
	}
	show("statistics").AddMiddleware(sample)

	// Ten milliseconds later.
	show("reminders").AddMiddleware(middleware.Delay(middleware.DelayConfig{By: 10 * time.Millisecond}))

	// Up to three attempts, a permanent error one; then the message is put aside.
	poison, err := middleware.PoisonQueue(pubSub, "poison")
	if err != nil {
		return err
	}
	retry, err := middleware.Retry(middleware.RetryPolicy{MaxAttempts: 3, InitialInterval: time.Millisecond, Multiplier: 2}, logger)
	if err != nil {
		return err
	}
	router.AddConsumerHandler("payments", "payments", pubSub, pay()).AddMiddleware(poison, retry)
	// docs:end

	router.AddConsumerHandler("poison", "poison", pubSub, func(msg *message.Message) error {
		fmt.Printf("poison: %s, because: %s\n", msg.Payload, msg.Metadata.Get(wm.ReasonForPoisonedKey))
		return nil
	})
	stopped := make(chan error, 1)
	go func() { stopped <- router.Run(ctx) }()
	<-router.Running()
	if err := publish(pubSub); err != nil {
		return err
	}
	if err := router.Close(); err != nil {
		return err
	}
	return <-stopped
}

// pay fails twice for an order that is then paid, and for good for one that has expired.
func pay() message.NoPublishHandlerFunc {
	attempts := map[string]int{}
	return func(msg *message.Message) error {
		attempts[msg.UUID]++
		fmt.Printf("payments: %s, attempt %d\n", msg.Payload, attempts[msg.UUID])
		switch {
		case msg.UUID == "expired":
			return middleware.Permanent(errors.New("card has expired"))
		case msg.UUID == "lost" || attempts[msg.UUID] < 3:
			return errors.New("bank does not answer")
		}
		return nil
	}
}

// publish returns when every message is handled: the Pub/Sub is one that waits.
func publish(pub message.Publisher) error {
	for _, m := range []struct{ topic, id, payload string }{
		{"vip", "1", `{"id":1,"price":20.50}`},
		{"vip", "2", `{"id":2,"price":2000.50,"stock":3}`},
		{"statistics", "3", `{"customer":"ann","n":1}`},
		{"statistics", "4", `{"customer":"bob","n":2}`},
		{"statistics", "5", `{"customer":"ann","n":3}`},
		{"statistics", "6", `{"customer":"bob","n":4}`},
		{"reminders", "7", `{"id":3}`},
		{"payments", "paid", `{"id":4}`},
		{"payments", "lost", `{"id":5}`},
		{"payments", "expired", `{"id":6}`},
	} {
		if err := pub.Publish(m.topic, message.NewMessage(m.id, []byte(m.payload))); err != nil {
			return err
		}
	}
	return nil
}

package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/bento-outbox/watermill-outbox/middleware"
)

// Middlewares on a handler of any Watermill Router, with any Pub/Sub.
func Example() {
	match, err := middleware.Match(middleware.MatchConfig{Conditions: `{"payload.price": {"$gt": 1000}}`})
	if err != nil {
		fmt.Println(err)
		return
	}
	transform, err := middleware.Transform(middleware.TransformConfig{IncludeFields: []string{"id", "price"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	pubSub := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 10}, watermill.NopLogger{})
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		fmt.Println(err)
		return
	}
	handled := make(chan string)
	router.AddConsumerHandler("vip", "products", pubSub, func(msg *message.Message) error {
		handled <- string(msg.Payload)
		return nil
	}).AddMiddleware(match, transform)
	go func() { _ = router.Run(context.Background()) }()
	<-router.Running()

	for _, payload := range []string{`{"id": 1, "price": 20.50}`, `{"id": 2, "price": 2000.50, "stock": 3}`} {
		if err := pubSub.Publish("products", message.NewMessage(watermill.NewUUID(), []byte(payload))); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(<-handled)
	_ = router.Close()
	// Output: {"id": 2, "price": 2000.50}
}

func ExampleMatch() {
	_, err := middleware.Match(middleware.MatchConfig{Conditions: `{"payload.price": {"$gtt": 1000}, "tenant": "acme"}`})
	fmt.Println(err)
	// Output: invalid config: /payload.price/$gtt: unknown operator $gtt, did you mean $gt?; /tenant: paths do not start at tenant, did you mean payload.tenant?
}

func ExampleTransform() {
	transform, err := middleware.Transform(middleware.TransformConfig{
		ExcludeFields: []string{"customer.password"},
		FieldMapping:  map[string]string{"total": "amount"},
		AddFields:     map[string]any{"source": "shop"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	handler := transform(func(msg *message.Message) ([]*message.Message, error) {
		fmt.Println(string(msg.Payload))
		return nil, nil
	})
	_, _ = handler(message.NewMessage("1", []byte(`{"total": 19.90, "customer": {"id": 9007199254740993, "password": "x"}}`)))
	// Output: {"amount": 19.90, "customer": {"id": 9007199254740993},"source":"shop"}
}

// Retry and PoisonQueue work in either order.
func ExampleRetry() {
	poisoned := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 1, Persistent: true}, watermill.NopLogger{})
	messages, _ := poisoned.Subscribe(context.Background(), "poison")
	poison, err := middleware.PoisonQueue(poisoned, "poison")
	if err != nil {
		fmt.Println(err)
		return
	}
	retry, err := middleware.Retry(middleware.RetryPolicy{MaxAttempts: 3, InitialInterval: time.Millisecond, Multiplier: 2}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	handler := poison(retry(func(*message.Message) ([]*message.Message, error) {
		fmt.Println("try")
		return nil, errors.New("out of stock")
	}))
	_, err = handler(message.NewMessage("1", nil))
	msg := <-messages
	fmt.Println(err, msg.Metadata["reason_poisoned"])
	msg.Ack()
	_ = poisoned.Close()
	// Output:
	// try
	// try
	// try
	// <nil> out of stock
}

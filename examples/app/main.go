// App is a Watermill application with an outbox wired in: it publishes inside its business transaction, and the forwarder is one
// more handler on the Router that the application has anyway.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"log"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/forwarder"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	db, cleanUp, err := openDatabase(ctx)
	if err != nil {
		return err
	}
	defer cleanUp()
	logger := watermill.NopLogger{}

	// What the application had before: a Pub/Sub, and a Router with handlers.
	pubSub := gochannel.NewGoChannel(gochannel.Config{BlockPublishUntilSubscriberAck: true}, logger)
	router, err := message.NewRouter(message.RouterConfig{}, logger)
	if err != nil {
		return err
	}
	mails, calls := make(chan string), make(chan string)
	router.AddConsumerHandler("mails", "orders.all", pubSub, func(msg *message.Message) error {
		mails <- fmt.Sprintf("mail:  %s %s", outbox.Topic(msg), msg.Payload)
		return nil
	})
	router.AddConsumerHandler("calls", "orders.large", pubSub, func(msg *message.Message) error {
		calls <- fmt.Sprintf("call:  %s %s", outbox.Topic(msg), msg.Payload)
		return nil
	})

	// docs:wire
	table, err := routes()
	if err != nil {
		return err
	}
	f, err := forwarder.New(db, map[string]message.Publisher{"shop": pubSub}, forwarder.Config{Routes: table}, logger)
	if err != nil {
		return err
	}
	f.AddTo(router) // the end of router ends it, too
	// docs:end

	stopped := make(chan error, 1)
	go func() { stopped <- router.Run(ctx) }()
	<-router.Running()
	if err := sell(ctx, db, mails, calls); err != nil {
		return err
	}
	if err := router.Close(); err != nil {
		return err
	}
	return <-stopped
}

// sell places orders and shows what the handlers get.
func sell(ctx context.Context, db *sql.DB, mails, calls <-chan string) error {
	if err := placeOrder(ctx, db, "order-1", 42); err != nil {
		return err
	}
	fmt.Println(<-mails)
	fmt.Println(<-mails)

	if placeOrder(ctx, db, "order-1", 43) != nil {
		fmt.Println("error: there is an order-1 already") // and its event is gone with the transaction
	}

	if err := placeOrder(ctx, db, "order-2", 5000); err != nil {
		return err
	}
	fmt.Println(<-mails)
	fmt.Println(<-calls)
	fmt.Println(<-mails)
	return nil
}

// Brokers runs one program on four brokers: only the URL of the destination changes.
//
//	go run ./brokers                         # the console, and Redis, Kafka and a webhook in this process
//	go run ./brokers redis://localhost:6379  # a broker of yours
package main

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/adapters"
	_ "github.com/bento-outbox/watermill-outbox/adapters/console" // console://
	_ "github.com/bento-outbox/watermill-outbox/adapters/http"    // http://, https://
	_ "github.com/bento-outbox/watermill-outbox/adapters/kafka"   // kafka://, a module of its own
	_ "github.com/bento-outbox/watermill-outbox/adapters/redis"   // redis://, rediss://
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/schema"
)

func main() {
	run := everywhere
	if len(os.Args) > 1 {
		run = func(ctx context.Context) error { return sell(ctx, os.Args[1]) }
	}
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

// everywhere runs sell for each broker in turn.
func everywhere(ctx context.Context) error {
	for _, start := range []func() (*broker, error){startConsole, startRedis, startKafka, startWebhook} {
		b, err := start()
		if err != nil {
			return err
		}
		if err := b.show(ctx); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	return nil
}

// show runs sell and prints what the broker has got.
func (b *broker) show(ctx context.Context) error {
	defer b.stop()
	if err := sell(ctx, b.url); err != nil {
		return err
	}
	for range 2 {
		msg, err := b.receive(ctx)
		if err != nil {
			return err
		}
		fmt.Printf("%s: %s %s\n", b.name, msg.UUID, msg.Payload)
	}
	return nil
}

// docs:sell
// sell stores two events and forwards them to the broker at url.
func sell(ctx context.Context, url string) error {
	db, cleanUp, err := openDatabase(ctx)
	if err != nil {
		return err
	}
	defer cleanUp()
	if err := placeOrders(ctx, db); err != nil {
		return err
	}

	destination, err := adapters.Open(ctx, url, watermill.NopLogger{})
	if err != nil {
		return err
	}
	defer destination.Close()
	f, err := forwarder.New(db, map[string]message.Publisher{"shop": destination}, forwarder.Config{}, nil)
	if err != nil {
		return err
	}
	return f.Drain(ctx)
}

// docs:end

func placeOrders(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	publisher, err := outbox.NewPublisher(tx, outbox.Config{Dialect: schema.SQLite}, nil)
	if err != nil {
		return err
	}
	for n, total := range []int{42, 5000} {
		msg := message.NewMessage(fmt.Sprintf("event-%d", n+1), fmt.Appendf(nil, `{"total":%d}`, total))
		outbox.SetAggregate(msg, "customer", "ann")
		if err := publisher.PublishContext(ctx, "orders.placed", msg); err != nil {
			return err
		}
	}
	return tx.Commit()
}

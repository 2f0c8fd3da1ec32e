// Basic stores an order and its event in one transaction and forwards the event.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	_ "modernc.org/sqlite"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/adapters/console"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/schema"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "outbox")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", "file:"+dir+"/shop.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_txlock=immediate")
	if err != nil {
		return err
	}
	defer db.Close()
	migrator, err := schema.NewMigrator(db, schema.Config{})
	if err != nil {
		return err
	}
	if _, err := migrator.Up(ctx); err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, `CREATE TABLE orders (id TEXT PRIMARY KEY, total INTEGER)`); err != nil {
		return err
	}

	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := placeOrder(ctx, tx, "order-1", 4200); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return forward(ctx, db, watermill.NewSlogLogger(nil))
}

// docs:publish
func placeOrder(ctx context.Context, tx *sql.Tx, id string, total int) error {
	if _, err := tx.ExecContext(ctx, `INSERT INTO orders (id, total) VALUES (?, ?)`, id, total); err != nil {
		return err
	}
	publisher, err := outbox.NewPublisher(tx, outbox.Config{Dialect: schema.SQLite}, nil)
	if err != nil {
		return err
	}
	msg := message.NewMessage(watermill.NewUUID(), fmt.Appendf(nil, `{"id":%q,"total":%d}`, id, total))
	outbox.SetAggregate(msg, "order", id)          // events of one order are delivered in order
	return publisher.Publish("orders.placed", msg) // exists if tx commits
}

// docs:end

// docs:forward
func forward(ctx context.Context, db *sql.DB, logger watermill.LoggerAdapter) error {
	destinations := map[string]message.Publisher{
		"console": console.NewPublisher(os.Stdout, console.Config{}, logger), // or adapters.Open(ctx, "kafka://localhost:9092", logger)
	}
	f, err := forwarder.New(db, destinations, forwarder.Config{}, logger)
	if err != nil {
		return err
	}
	return f.Drain(ctx) // f.Run(ctx) goes on until ctx ends; f.AddTo(router) runs it on your own Router
}

// docs:end

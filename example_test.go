package outbox_test

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// An order and its event are stored in one transaction: both or none.
func ExampleNewPublisher() {
	ctx := context.Background()
	db, remove := testdb.Example(ctx)
	defer remove()
	if _, err := db.ExecContext(ctx, `CREATE TABLE orders (id TEXT PRIMARY KEY)`); err != nil {
		panic(err)
	}

	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		panic(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, `INSERT INTO orders (id) VALUES ('order-1')`); err != nil {
		panic(err)
	}
	publisher, err := outbox.NewPublisher(tx, outbox.Config{Dialect: schema.SQLite}, nil)
	if err != nil {
		panic(err)
	}
	msg := message.NewMessage(watermill.NewUUID(), []byte(`{"id":"order-1"}`))
	outbox.SetTenant(msg, "acme")
	outbox.SetAggregate(msg, "order", "order-1")
	if err := publisher.Publish("orders.placed", msg); err != nil {
		panic(err)
	}
	if err := tx.Commit(); err != nil {
		panic(err)
	}

	var topic, tenant, status string
	err = db.QueryRowContext(ctx, `SELECT topic, tenant_id, status FROM outbox_events`).Scan(&topic, &tenant, &status)
	fmt.Println(topic, tenant, status, err)
	// Output: orders.placed acme NEW <nil>
}

// A consumer reads what the forwarder tells it about an event.
func ExampleAggregate() {
	msg := message.NewMessage("1", nil) // as a subscriber delivers it
	msg.Metadata = message.Metadata{outbox.KeyAggregateType: "order", outbox.KeyAggregateID: "17", outbox.KeyID: "a1b2.42.x"}

	kind, id := outbox.Aggregate(msg)
	fmt.Println(kind, id)
	fmt.Println(outbox.ID(msg)) // the same at every redelivery
	// Output:
	// order 17
	// a1b2.42.x
}

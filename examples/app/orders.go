package main

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// placeOrder stores an order and its events, or nothing of them.
func placeOrder(ctx context.Context, db *sql.DB, id string, total int) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	publisher, err := outbox.NewPublisher(tx, outbox.Config{Dialect: schema.SQLite}, nil)
	if err != nil {
		return err
	}
	if err := publisher.PublishContext(ctx, "orders.placed", event(id, total)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO orders (id, total) VALUES (?, ?)`, id, total); err != nil {
		return err
	}
	if err := publisher.PublishContext(ctx, "orders.paid", event(id, total)); err != nil {
		return err
	}
	return tx.Commit()
}

func event(id string, total int) *message.Message {
	msg := message.NewMessage(watermill.NewUUID(), fmt.Appendf(nil, `{"id":%q,"total":%d}`, id, total))
	outbox.SetAggregate(msg, "order", id) // events of one order are delivered in order
	return msg
}

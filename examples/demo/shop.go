package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"golang.org/x/sync/errgroup"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// order is a row of the shop, and the payload of the events about it.
type order struct {
	ID       string `json:"id"`
	Customer string `json:"customer"`
	Number   int    `json:"number"` // the customer's first order is 1
	Cents    int    `json:"cents"`
}

const (
	customers = 20
	tills     = 4 // work at the same time

	sellingTime = 2 * time.Second // so that there is something to watch
)

var errDeclined = errors.New("card declined")

// shop sells things.
type shop struct {
	db            *database
	notifications string // where notifications are sent

	committed, events, rolledBack atomic.Int64 // orders; events that were committed, and that were not
}

// sell commits n orders. One attempt in ten fails and is made again. The order in the middle has the poisoned event.
func (s *shop) sell(ctx context.Context, n int) error {
	pace := time.NewTicker(max(sellingTime/time.Duration(n), time.Microsecond))
	defer pace.Stop()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(tills)
	for i := range n {
		select {
		case <-pace.C:
		case <-ctx.Done():
		}
		group.Go(func() error {
			customer := customerID(i % customers)
			if i%10 == 9 {
				if err := s.placeOrder(ctx, customer, false, true); !errors.Is(err, errDeclined) {
					return fmt.Errorf("an order that should be declined: %w", err)
				}
			}
			return s.placeOrder(ctx, customer, i == n/2, false)
		})
	}
	return group.Wait()
}

// placeOrder saves one order and its events in one transaction.
func (s *shop) placeOrder(ctx context.Context, customer string, poisoned, declined bool) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit

	o, err := s.insertOrder(ctx, tx, customer)
	if err != nil {
		return err
	}
	published, err := s.publishEvents(ctx, tx, o, poisoned)
	if err != nil {
		return err
	}
	if declined {
		s.rolledBack.Add(int64(published))
		return errDeclined
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	s.committed.Add(1)
	s.events.Add(int64(published))
	return nil
}

// insertOrder is plain business. Updating the customer's row makes orders of one customer wait for each other, so that
// their events have an order, which the forwarder then keeps.
func (s *shop) insertOrder(ctx context.Context, tx *sql.Tx, customer string) (order, error) {
	o := order{ID: watermill.NewUUID(), Customer: customer, Cents: 1999}
	err := tx.QueryRowContext(ctx,
		`UPDATE `+s.db.customers+` SET orders = orders + 1 WHERE id = $1 RETURNING orders`, customer).Scan(&o.Number)
	if err != nil {
		return o, err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO `+s.db.orders+` (id, customer, number, cents) VALUES ($1, $2, $3, $4)`,
		o.ID, o.Customer, o.Number, o.Cents)
	return o, err
}

// publishEvents publishes what the world should know about o. Nobody sees it before the transaction is committed.
func (s *shop) publishEvents(ctx context.Context, tx *sql.Tx, o order, poisoned bool) (int, error) {
	publisher, err := forwarder.NewPublisher(tx, forwarder.PublisherConfig{
		AdapterConfig: schema.AdapterConfig{Config: s.db.outbox},
	}, nil)
	if err != nil {
		return 0, err
	}
	events := message.Messages{
		newEvent(o, "kafka://orders"),
		newEvent(o, s.notifications),
		newEvent(o, ""), // goes to its topic, at the default publisher
	}
	if poisoned {
		events = append(events, newEvent(o, "fax://warehouse")) // there is no such publisher
	}
	return len(events), publisher.PublishContext(ctx, "audit", events...)
}

// newEvent returns a message about o. Its aggregate, the customer, is what events are kept in order by.
func newEvent(o order, routingKey string) *message.Message {
	payload, err := json.Marshal(o)
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	msg := message.NewMessage(watermill.NewUUID(), payload)
	schema.SetAggregate(msg, "customer", o.Customer)
	if routingKey != "" {
		schema.SetRoutingKey(msg, routingKey)
	}
	return msg
}

func customerID(i int) string { return fmt.Sprintf("customer-%02d", i) }

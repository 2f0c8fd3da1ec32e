package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"golang.org/x/sync/errgroup"

	outbox "github.com/bento-outbox/watermill-outbox"
)

// order is a row of the shop, and the payload of the events about it.
type order struct {
	ID       string `json:"id"`
	Customer string `json:"customer"`
	Number   int    `json:"number"` // the customer's first order is 1
	product
	Express bool `json:"express"`
}

type product struct {
	Name    string  `json:"name"`
	Price   float64 `json:"price"`
	Visible bool    `json:"visible"` // may be found
}

var products = []product{
	{Name: "lamp", Price: 19.99, Visible: true},
	{Name: "sofa", Price: 1249.90, Visible: true},
	{Name: "private lesson", Price: 45},
	{Name: "painting", Price: 4800},
}

const (
	customers = 20
	tills     = 4 // work at the same time

	sellingTime = 2 * time.Second // so that there is something to watch
)

var errDeclined = errors.New("card declined")

// shop sells things.
type shop struct {
	db      *database
	routes  outbox.ConfigChecker // checks routing configs before they are stored
	routing []byte               // of events about products

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
			o := order{Customer: customerID(i % customers), product: products[i%len(products)], Express: i%3 == 0}
			if i%10 == 9 {
				if err := s.placeOrder(ctx, o, false, true); !errors.Is(err, errDeclined) {
					return fmt.Errorf("an order that should be declined: %w", err)
				}
			}
			return s.placeOrder(ctx, o, i == n/2, false)
		})
	}
	return group.Wait()
}

// placeOrder saves one order and its events in one transaction.
func (s *shop) placeOrder(ctx context.Context, o order, poisoned, declined bool) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit

	if o, err = s.insertOrder(ctx, tx, o); err != nil {
		return err
	}
	if err := s.publishEvents(ctx, tx, newEvents(o, s.routing, poisoned)); err != nil {
		return err
	}
	if declined {
		s.rolledBack.Add(eventsPerOrder)
		return errDeclined
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	s.committed.Add(1)
	s.events.Add(eventsPerOrder)
	return nil
}

// insertOrder is plain business. Updating the customer's row makes orders of one customer wait for each other, so that
// their events have an order, which the forwarder then keeps.
func (s *shop) insertOrder(ctx context.Context, tx *sql.Tx, o order) (order, error) {
	o.ID = watermill.NewUUID()
	err := tx.QueryRowContext(ctx,
		`UPDATE `+s.db.customers+` SET orders = orders + 1 WHERE id = $1 RETURNING orders`, o.Customer).Scan(&o.Number)
	if err != nil {
		return o, err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO `+s.db.orders+` (id, customer, number) VALUES ($1, $2, $3)`,
		o.ID, o.Customer, o.Number)
	return o, err
}

// publishEvents stores events. Nobody sees them before the transaction is committed.
func (s *shop) publishEvents(ctx context.Context, tx *sql.Tx, events []topicMessage) error {
	publisher, err := outbox.NewPublisher(tx, outbox.Config{
		Dialect: s.db.outbox.Dialect, Names: s.db.outbox.Names,
		Routes: s.routes,
	}, nil)
	if err != nil {
		return err
	}
	for _, event := range events {
		if err := publisher.PublishContext(ctx, event.topic, event.Message); err != nil {
			return err
		}
	}
	return nil
}

func customerID(i int) string { return fmt.Sprintf("customer-%02d", i) }

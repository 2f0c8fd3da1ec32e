package faults

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/bento-outbox/watermill-outbox/forwarder"
)

// Broken is a way to break a forwarder, to see that the checker finds out.
type Broken string

// Ways to break a forwarder.
const (
	// SettlesFirst acknowledges an event before it publishes it.
	SettlesFirst Broken = "settles before publishing"
	// IgnoresLease never asks whether its lease is still its own.
	IgnoresLease Broken = "ignores the lease"
	// DropsOrder publishes events of a key as they come.
	DropsOrder Broken = "drops order"
	// ForgetsLate does not look for transactions that commit below what it has read.
	ForgetsLate Broken = "forgets late committers"
)

func (b Broken) configure(c *forwarder.SubscriberConfig) {
	switch b {
	case DropsOrder:
		c.Unordered = true
	case ForgetsLate:
		c.SweepInterval = time.Hour
	}
}

func (b Broken) publisher(p message.Publisher) message.Publisher {
	if b == SettlesFirst {
		return hasty{p}
	}
	return p
}

// hasty publishes when it has said that it did.
type hasty struct{ message.Publisher }

func (h hasty) Publish(topic string, msgs ...*message.Message) error {
	for _, m := range msgs {
		later := m.Copy() // without the context, which ends
		time.AfterFunc(500*time.Millisecond, func() { _ = h.Publisher.Publish(topic, later) })
	}
	return nil
}

// open opens the database of a forwarder, with what breaks it in between.
func (b Broken) open(url string) (*sql.DB, error) {
	c, err := stdlib.GetDefaultDriver().(driver.DriverContext).OpenConnector(url)
	if err != nil {
		return nil, err
	}
	if b == IgnoresLease || b == ForgetsLate {
		c = lyingConnector{c, b, new(atomic.Int64)}
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(10)
	return db, nil
}

type lyingConnector struct {
	driver.Connector
	broken Broken
	slots  *atomic.Int64 // that the forwarder believes to own
}

func (c lyingConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return lyingConn{conn.(*stdlib.Conn), c.broken, c.slots}, nil
}

// lyingConn answers some questions in the server's place.
type lyingConn struct {
	*stdlib.Conn
	broken Broken
	slots  *atomic.Int64
}

// ExecContext counts the slots that are given back.
func (c lyingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	res, err := c.Conn.ExecContext(ctx, query, args)
	if err == nil && strings.Contains(query, "SET owner = NULL") {
		n, _ := res.RowsAffected()
		c.slots.Add(-n)
	}
	return res, err
}

// QueryContext says that nobody writes, or that a lease was renewed, without renewing it, and that every lease is still held.
func (c lyingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	switch {
	case c.broken == ForgetsLate && strings.Contains(query, "pg_locks"):
		query = "SELECT ''::text, 0::bigint WHERE false"
	case c.broken == IgnoresLease && strings.Contains(query, "FOR SHARE"):
		query = strings.NewReplacer("AND x.epoch = o.epoch", "", "AND o.owner IS NOT NULL", "").Replace(query)
	case c.broken == IgnoresLease && strings.Contains(query, "SET expires_at"):
		query, args = fmt.Sprintf("SELECT %d", c.slots.Load()), nil
	case strings.Contains(query, "SET owner = $2"):
		rows, err := c.Conn.QueryContext(ctx, query, args)
		return countedRows{rows, c.slots}, err
	}
	return c.Conn.QueryContext(ctx, query, args)
}

// countedRows counts its rows.
type countedRows struct {
	driver.Rows
	n *atomic.Int64
}

func (r countedRows) Next(dest []driver.Value) error {
	err := r.Rows.Next(dest)
	if err == nil {
		r.n.Add(1)
	}
	return err
}

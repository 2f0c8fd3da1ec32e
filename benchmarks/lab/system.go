package lab

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wmsql "github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"
	stock "github.com/ThreeDotsLabs/watermill/components/forwarder"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5"

	"github.com/bento-outbox/watermill-outbox/benchmarks/internal/backlog"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/router"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// system is one of the forwarders that are compared.
type system struct {
	tables  string                                      // systems with the same have the same backlog
	create  func(ctx context.Context, db *sql.DB) error // its tables
	insert  func(payload int) string                    // its events, see backlog.Fill
	forward func(ctx context.Context, r run) error
	prepare func(ctx context.Context, conn *pgx.Conn) error // changes the tables once they are filled; may be nil
	left    string                                          // query of what is not finished; empty where there is no telling
	whole   bool                                            // always drain the whole backlog
	shared  bool                                            // several processes deliver, so that the order of a key cannot be seen at one place
}

// run is what a system gets.
type run struct {
	Settings
	dsn  string
	db   *sql.DB
	to   message.Publisher
	name string // of the destination
}

var systems = map[string]system{
	"ours":          oursBy(forward),
	"ours-router":   oursBy(onRouter),
	"held":          held(),
	"loop":          oursBy(loop),
	"one-process":   processes(1),
	"two-processes": processes(2),
	"stock": {
		tables: "stock",
		create: func(ctx context.Context, db *sql.DB) error {
			queries := append(stockSchema.SchemaInitializingQueries(stockTopic), stockOffsets.SchemaInitializingQueries(stockTopic)...)
			for _, q := range queries {
				if _, err := db.ExecContext(ctx, q.Query, q.Args...); err != nil {
					return err
				}
			}
			return nil
		},
		insert: backlog.Stock,
		forward: func(ctx context.Context, r run) error {
			// It logs payloads, so it gets no logger.
			sub, err := wmsql.NewSubscriber(r.db, wmsql.SubscriberConfig{
				ConsumerGroup: "forwarder", SchemaAdapter: stockSchema, OffsetsAdapter: stockOffsets,
			}, watermill.NopLogger{})
			if err != nil {
				return err
			}
			f, err := stock.NewForwarder(sub, r.to, watermill.NopLogger{}, stock.Config{ForwarderTopic: stockTopic, CloseTimeout: 10 * time.Second})
			if err != nil {
				return err
			}
			return f.Run(ctx)
		},
	},
}

// Systems returns the names of what is compared: stock is Watermill's forwarder, ours this project's, as outbox run runs it, ours-router the same on an
// application's Router, held ours with a backlog of deliveries that were
// held while their destination was out of reach, loop a hand-written loop on our tables, and
// one-process and two-processes are ours as processes of their own with 8 events in flight each.
func Systems() []string { return slices.Sorted(maps.Keys(systems)) }

func forward(ctx context.Context, r run) error {
	f, err := r.forwarder(ctx)
	if err != nil {
		return err
	}
	return f.Run(ctx)
}

// onRouter runs the forwarder as an application does that has a Router.
func onRouter(ctx context.Context, r run) error {
	f, err := r.forwarder(ctx)
	if err != nil {
		return err
	}
	return runOnRouter(ctx, f)
}

func runOnRouter(ctx context.Context, f *forwarder.Forwarder) error {
	router, err := message.NewRouter(message.RouterConfig{}, errorLog{})
	if err != nil {
		return err
	}
	f.AddTo(router)
	if err := router.Run(ctx); err != nil {
		return err
	}
	return f.Close()
}

func oursBy(forward func(context.Context, run) error) system {
	return system{
		tables: "ours",
		create: func(ctx context.Context, db *sql.DB) error {
			m, err := schema.NewMigrator(db, schema.Config{})
			if err != nil {
				return err
			}
			_, err = m.Up(ctx)
			return err
		},
		insert:  backlog.Ours,
		forward: forward,
		left:    `SELECT (SELECT count(*) FROM outbox_pending) + (SELECT count(*) FROM outbox_deliveries)`,
		whole:   true,
	}
}

// forwarder returns ours, as the settings want it.
func (r run) forwarder(ctx context.Context) (*forwarder.Forwarder, error) {
	cfg := forwarder.Config{Subscriber: forwarder.SubscriberConfig{BatchSize: r.BatchSize, MaxConcurrent: r.MaxConcurrent}}
	if !r.Unrouted {
		routes, err := router.ParseRoutes([]byte(staticRoutes))
		if err != nil {
			return nil, err
		}
		table, err := router.NewTable(router.Config{Routes: routes})
		if err != nil {
			return nil, err
		}
		cfg.Routes = table
	}
	return forwarder.New(r.db, map[string]message.Publisher{"default": r.to}, cfg, errorLog{})
}

// Three routes, of which the last matches the topic, with three targets of two conditions, of which one gets every event.
const staticRoutes = `
routing_version: bench
routes:
  - topic: orders.*
    config: {targets: [{destination: orders}]}
  - topic: users.**
    config: {targets: [{destination: users}]}
  - topic: "*"
    config:
      targets:
        - {destination: ` + backlog.Topic + `, conditions: {payload.number: {$gt: 0}, payload.key: {$gte: 0}}}
        - {destination: refunds, conditions: {payload.number: {$lt: 0}, payload.key: {$gte: 0}}}
        - {destination: audit, conditions: {payload.number: {$gt: 0}, payload.key: {$in: [-1, -2]}}}
`

const stockTopic = "forwarder_topic"

var (
	stockSchema  = wmsql.DefaultPostgreSQLSchema{SubscribeBatchSize: 1000}
	stockOffsets = wmsql.DefaultPostgreSQLOffsetsAdapter{}
)

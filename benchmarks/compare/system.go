package main

import (
	"context"
	"database/sql"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wmsql "github.com/ThreeDotsLabs/watermill-sql/v3/pkg/sql"
	stock "github.com/ThreeDotsLabs/watermill/components/forwarder"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/benchmarks/internal/backlog"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// system is one of the forwarders that are compared.
type system struct {
	create  func(ctx context.Context, db *sql.DB) error // its tables
	insert  string                                      // its events, see backlog.Fill
	forward func(ctx context.Context, db *sql.DB, to message.Publisher) error
	left    string // query of what is not finished; empty where there is no telling
	whole   bool   // always drain the whole backlog
}

var systems = map[string]system{
	"ours": {
		create: func(ctx context.Context, db *sql.DB) error {
			m, err := schema.NewMigrator(db, schema.Config{})
			if err != nil {
				return err
			}
			_, err = m.Up(ctx)
			return err
		},
		insert: backlog.Ours,
		forward: func(ctx context.Context, db *sql.DB, to message.Publisher) error {
			f, err := forwarder.New(ctx, db, map[string]message.Publisher{"default": to}, forwarder.Config{}, errorLog{})
			if err != nil {
				return err
			}
			return f.Run(ctx)
		},
		left:  `SELECT (SELECT count(*) FROM outbox_pending) + (SELECT count(*) FROM outbox_deliveries)`,
		whole: true,
	},
	"stock": {
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
		forward: func(ctx context.Context, db *sql.DB, to message.Publisher) error {
			// It logs payloads, so it gets no logger.
			sub, err := wmsql.NewSubscriber(db, wmsql.SubscriberConfig{
				ConsumerGroup: "forwarder", SchemaAdapter: stockSchema, OffsetsAdapter: stockOffsets,
			}, watermill.NopLogger{})
			if err != nil {
				return err
			}
			f, err := stock.NewForwarder(sub, to, watermill.NopLogger{}, stock.Config{ForwarderTopic: stockTopic, CloseTimeout: 10 * time.Second})
			if err != nil {
				return err
			}
			return f.Run(ctx)
		},
	},
}

const stockTopic = "forwarder_topic"

var (
	stockSchema  = wmsql.DefaultPostgreSQLSchema{SubscribeBatchSize: 1000}
	stockOffsets = wmsql.DefaultPostgreSQLOffsetsAdapter{}
)

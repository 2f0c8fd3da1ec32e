// Package transactions publishes inside the transactions of other libraries. docs/transactions.md quotes it.
package transactions_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// docs:gorm
func publishGORM(tx *gorm.DB, topic string, msg *message.Message) error {
	p, err := outbox.NewPublisher(tx.Statement.ConnPool, outbox.Config{}, nil)
	if err != nil {
		return err
	}
	return p.Publish(topic, msg)
}

// docs:end

// docs:bun
func publishBun(tx bun.Tx, topic string, msg *message.Message) error {
	p, err := outbox.NewPublisher(tx.Tx, outbox.Config{}, nil) // bun.Tx itself replaces the parameters of queries
	if err != nil {
		return err
	}
	return p.Publish(topic, msg)
}

// docs:end

// docs:ent
// The Tx of a client that is generated with the feature sql/execquery has ExecContext, as entsql.Tx has.
func publishEnt(tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}, topic string, msg *message.Message,
) error {
	p, err := outbox.NewPublisher(tx, outbox.Config{}, nil)
	if err != nil {
		return err
	}
	return p.Publish(topic, msg)
}

// docs:end

func TestTransactionsOfOtherLibraries(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	event := func() *message.Message {
		m := message.NewMessage("1", []byte(`{"path":"C:\\dir"}`))
		outbox.SetAggregate(m, "order", "17")
		return m
	}
	for name, inTransaction := range map[string]func(t *testing.T, dsn string, rollback error) error{
		"GORM": func(t *testing.T, dsn string, rollback error) error {
			return inGORM(t, dsn, &gorm.Config{}, func(tx *gorm.DB) error { return errors.Join(publishGORM(tx, "orders", event()), rollback) })
		},
		"GORM with PrepareStmt": func(t *testing.T, dsn string, rollback error) error {
			return inGORM(t, dsn, &gorm.Config{PrepareStmt: true}, func(tx *gorm.DB) error { return errors.Join(publishGORM(tx, "orders", event()), rollback) })
		},
		"bun": func(t *testing.T, dsn string, rollback error) error {
			db := bun.NewDB(testdb.Open(t, dsn), pgdialect.New())
			return db.RunInTx(ctx, nil, func(_ context.Context, tx bun.Tx) error {
				for _, own := range []outbox.Executor{tx, &tx, db} {
					_, err := outbox.NewPublisher(own, outbox.Config{}, nil)
					require.ErrorContains(t, err, "pass the value of database/sql that is in it: tx.Tx")
				}
				return errors.Join(publishBun(tx, "orders", event()), rollback)
			})
		},
		"ent": func(t *testing.T, dsn string, rollback error) error {
			begun, err := entsql.OpenDB(dialect.Postgres, testdb.Open(t, dsn)).Tx(ctx)
			require.NoError(t, err)
			tx, ok := begun.(*entsql.Tx)
			require.True(t, ok)
			if err := errors.Join(publishEnt(tx, "orders", event()), rollback); err != nil {
				return errors.Join(err, tx.Rollback())
			}
			return tx.Commit()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := testdb.PostgresDSN(t)
			db := testdb.Migrated(t, testdb.Open(t, dsn))
			changed := errors.New("changed its mind")
			require.ErrorIs(t, inTransaction(t, dsn, changed), changed)
			require.NoError(t, inTransaction(t, dsn, nil))
			var n int
			require.NoError(t, db.QueryRowContext(ctx, `SELECT count(*) FROM outbox WHERE topic = 'orders' AND aggregate_id = '17'`).Scan(&n))
			require.Equal(t, 1, n, "the one that was committed")
		})
	}
}

func inGORM(t *testing.T, dsn string, cfg *gorm.Config, f func(tx *gorm.DB) error) error {
	t.Helper()
	db, err := gorm.Open(postgres.New(postgres.Config{Conn: testdb.Open(t, dsn)}), cfg)
	require.NoError(t, err)
	return db.Transaction(f)
}

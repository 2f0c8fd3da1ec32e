package outbox_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

func TestPublisherRefusesATransactionThatIsNil(t *testing.T) {
	t.Parallel()
	for name, tx := range map[string]outbox.Executor{
		"nil": nil, "sql.Tx": (*sql.Tx)(nil), "sqlx.Tx": (*sqlx.Tx)(nil), "sql.DB": (*sql.DB)(nil), "sql.Conn": (*sql.Conn)(nil),
		"Pgx": outbox.Pgx(nil), "Pgx of a nil Tx": outbox.Pgx((*pgxpool.Tx)(nil)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := outbox.NewPublisher(tx, outbox.Config{}, nil)
			require.ErrorContains(t, err, "transaction is nil")
		})
	}
}

func TestPublisherTakesAConnection(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		conn, err := db.Conn(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.ExecContext(t.Context(), "BEGIN")
		require.NoError(t, err)
		p, err := outbox.NewPublisher(conn, publisherConfig(db), nil)
		require.NoError(t, err)
		require.NoError(t, p.Publish("orders", keyed("a", "x")))
		_, err = conn.ExecContext(t.Context(), "COMMIT")
		require.NoError(t, err)
		require.Equal(t, 1, stored(t, db))
	})
}

// A pgx transaction is one connection; goroutines that share its publisher take turns.
func TestPgxPublisherIsSharedByGoroutines(t *testing.T) {
	t.Parallel()
	dsn := testdb.PostgresDSN(t)
	db := testdb.Migrated(t, testdb.Open(t, dsn))
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	require.NoError(t, err)
	defer func() { _ = conn.Close(ctx) }()
	tx, err := conn.Begin(ctx)
	require.NoError(t, err)
	p, err := outbox.NewPublisher(outbox.Pgx(tx), outbox.Config{}, nil)
	require.NoError(t, err)
	errs := make([]error, 20)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = p.Publish("orders", keyed("a", fmt.Sprint(i))) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit(ctx))
	require.Equal(t, len(errs), stored(t, db))
}

// The dialect is found where the driver can be asked, and named where it cannot.
func TestPublisherFindsSQLite(t *testing.T) {
	t.Parallel()
	db := testdb.SQLite(t)
	p, err := outbox.NewPublisher(db, outbox.Config{}, nil)
	require.NoError(t, err)
	require.NoError(t, p.Publish("orders", keyed("a", "x")))

	x, err := sqlx.Open("sqlite", testdb.SQLiteDSN(filepath.Join(t.TempDir(), "outbox.db")))
	require.NoError(t, err)
	defer x.Close()
	testdb.Migrated(t, x.DB)
	txx, err := x.Beginx()
	require.NoError(t, err)
	p, err = outbox.NewPublisher(txx, outbox.Config{}, nil)
	require.NoError(t, err)
	require.NoError(t, p.Publish("orders", keyed("a", "x")))
	require.NoError(t, txx.Commit())

	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback() }()
	p, err = outbox.NewPublisher(tx, outbox.Config{}, nil)
	require.NoError(t, err)
	require.ErrorContains(t, p.Publish("orders", keyed("a", "x")), "set Dialect of outbox.Config to schema.SQLite")
}

func TestPublishWithoutTablesNamesTheRemedy(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		cfg := publisherConfig(db)
		cfg.Names.Prefix = "not_there"
		p, err := outbox.NewPublisher(db, cfg, nil)
		require.NoError(t, err)
		err = p.Publish("orders", keyed("a", "x"))
		require.ErrorIs(t, err, schema.ErrSchema)
		require.ErrorContains(t, err, "outbox migrate up")
	})
}

package schema_test

import (
	"bytes"
	"context"
	"database/sql"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// eachEmpty runs f on an empty database of each dialect.
func eachEmpty(t *testing.T, f func(t *testing.T, open func() *sql.DB)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "outbox.db")
		f(t, func() *sql.DB {
			db, err := sql.Open("sqlite", testdb.SQLiteDSN(file))
			require.NoError(t, err)
			t.Cleanup(func() { _ = db.Close() })
			return db
		})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		dsn := testdb.PostgresDSN(t)
		f(t, func() *sql.DB { return testdb.Open(t, dsn) })
	})
}

func migrator(t testing.TB, db *sql.DB) *schema.Migrator {
	t.Helper()
	m, err := schema.NewMigrator(db, schema.Config{})
	require.NoError(t, err)
	return m
}

// objects lists what the database holds, with definitions.
func TestMigrateUpAndDown(t *testing.T) {
	t.Parallel()
	eachEmpty(t, func(t *testing.T, open func() *sql.DB) {
		ctx, db := context.Background(), open()
		m := migrator(t, db)
		empty := testdb.Objects(t, db)
		status, err := m.Status(ctx)
		require.NoError(t, err)
		for _, s := range status {
			require.Zero(t, s.AppliedAt)
		}
		_, err = store.Open(ctx, db, schema.Config{})
		require.ErrorIs(t, err, schema.ErrSchema)
		require.ErrorContains(t, err, "migrate up")

		applied, err := m.Up(ctx)
		require.NoError(t, err)
		require.Len(t, applied, len(status))
		up := testdb.Objects(t, db)
		again, err := m.Up(ctx)
		require.NoError(t, err)
		require.Empty(t, again)
		status, err = m.Status(ctx)
		require.NoError(t, err)
		for _, s := range status {
			require.NotZero(t, s.AppliedAt)
		}
		first, err := store.Open(ctx, db, schema.Config{})
		require.NoError(t, err)
		require.NotEmpty(t, first.Identity())

		for range status {
			down, err := m.Down(ctx)
			require.NoError(t, err)
			require.NotNil(t, down)
		}
		down, err := m.Down(ctx)
		require.NoError(t, err)
		require.Nil(t, down)
		_, err = db.ExecContext(ctx, "DROP TABLE IF EXISTS outbox_migrations") // an empty one may stay
		require.NoError(t, err)
		require.Equal(t, empty, testdb.Objects(t, db), "down leaves nothing")

		_, err = m.Up(ctx)
		require.NoError(t, err)
		require.Equal(t, up, testdb.Objects(t, db))
		second, err := store.Open(ctx, db, schema.Config{})
		require.NoError(t, err)
		require.NotEqual(t, first.Identity(), second.Identity(), "new tables number anew, so they are others")
	})
}

func TestPrintedSQLIsWhatUpRuns(t *testing.T) {
	t.Parallel()
	eachEmpty(t, func(t *testing.T, open func() *sql.DB) {
		ctx, db := context.Background(), open()
		d, err := schema.DialectOf(db)
		require.NoError(t, err)
		cfg := schema.Config{Dialect: d}
		if d == schema.PostgreSQL {
			require.NoError(t, db.QueryRowContext(ctx, "SELECT current_schema()").Scan(&cfg.Names.Schema))
		}
		text := func(direction string) string {
			var b bytes.Buffer
			require.NoError(t, schema.WriteSQL(&b, cfg, direction))
			return b.String()
		}
		db.SetMaxOpenConns(1)
		_, err = db.ExecContext(ctx, text("up"))
		require.NoError(t, err)
		printed := testdb.Objects(t, db)
		_, err = store.Open(ctx, db, schema.Config{})
		require.NoError(t, err)
		applied, err := migrator(t, db).Up(ctx)
		require.NoError(t, err)
		require.Empty(t, applied)
		_, err = db.ExecContext(ctx, text("down"))
		require.NoError(t, err)
		_, err = store.Open(ctx, db, schema.Config{})
		require.ErrorIs(t, err, schema.ErrSchema)
		_, err = migrator(t, db).Up(ctx)
		require.NoError(t, err)
		require.Equal(t, testdb.Objects(t, db), printed)
	})
}

func TestEightMigrateAtOnce(t *testing.T) {
	t.Parallel()
	eachEmpty(t, func(t *testing.T, open func() *sql.DB) {
		ctx := context.Background()
		dbs := make([]*sql.DB, 8)
		for i := range dbs {
			dbs[i] = open()
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		applied := 0
		for _, db := range dbs {
			wg.Go(func() {
				m, err := schema.NewMigrator(db, schema.Config{})
				if err != nil {
					t.Error(err)
					return
				}
				list, err := m.Up(ctx)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				applied += len(list)
			})
		}
		wg.Wait()
		status, err := migrator(t, dbs[0]).Status(ctx)
		require.NoError(t, err)
		require.Equal(t, len(status), applied, "each migration once")
	})
}

func TestTablesOfAnotherVersionAreRefused(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		ctx := context.Background()
		_, err := db.ExecContext(ctx, "INSERT INTO outbox_migrations (version, name, identity) VALUES (999, 'future', 'x')")
		require.NoError(t, err)
		_, err = store.Open(ctx, db, schema.Config{})
		require.ErrorIs(t, err, schema.ErrSchema)
		require.ErrorContains(t, err, "version 999 is newer")
		_, err = migrator(t, db).Up(ctx)
		require.ErrorIs(t, err, schema.ErrSchema)
		_, err = migrator(t, db).Down(ctx)
		require.ErrorIs(t, err, schema.ErrSchema)
		status, err := migrator(t, db).Status(ctx)
		require.NoError(t, err)
		require.Equal(t, 999, status[len(status)-1].Version)

		_, err = db.ExecContext(ctx, "DELETE FROM outbox_migrations")
		require.NoError(t, err)
		_, err = store.Open(ctx, db, schema.Config{})
		require.ErrorIs(t, err, schema.ErrSchema)
	})
}

// A table that somebody has dropped is noticed before anything is begun, and its own statement of the printed SQL brings it back.
func TestTableThatWasDropped(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"pending", "deliveries", "controls", "cleanup", "slots"} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			testdb.Each(t, func(t *testing.T, db *sql.DB) {
				ctx := context.Background()
				_, err := db.ExecContext(ctx, "DROP VIEW outbox_events")
				require.NoError(t, err)
				_, err = db.ExecContext(ctx, "DROP TABLE outbox_"+table)
				require.NoError(t, err)
				_, err = store.Open(ctx, db, schema.Config{})
				require.ErrorIs(t, err, schema.ErrSchema)
				require.ErrorContains(t, err, `"outbox_`+table+`" is missing`)
			})
		})
	}
}

package main

import (
	"context"
	"database/sql"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

func openPool(t *testing.T, dsn string, change func(*config.Database)) *sql.DB {
	t.Helper()
	s, err := parseSource(dsn)
	require.NoError(t, err)
	c := config.Default().Database
	change(&c)
	db, err := database{source: s, pool: daemonPool(c)}.open(t.Context(), false)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func parameters(t *testing.T, db interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
},
) (jit, timeout string) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT current_setting('jit'), current_setting('statement_timeout')`).Scan(&jit, &timeout))
	return jit, timeout
}

func TestConnectionsAreSet(t *testing.T) {
	t.Parallel()
	dsn := testdb.PostgresDSN(t)
	plainJIT, plainTimeout := parameters(t, openPool(t, dsn, func(c *config.Database) { c.JIT, c.StatementTimeout = true, 0 }))
	require.Equal(t, "0", plainTimeout)

	db := openPool(t, dsn, func(c *config.Database) { c.StatementTimeout = 1500 * time.Millisecond })
	jit, timeout := parameters(t, db)
	require.Equal(t, "off", jit)
	require.NotEqual(t, plainJIT, jit, "the server has it on by itself, else this shows nothing")
	require.Equal(t, "1500ms", timeout)
	_, err := db.ExecContext(t.Context(), `SELECT pg_sleep(30)`)
	require.ErrorContains(t, err, "statement timeout")
}

// Through PgBouncer nothing is set: a connection of the server is another client's in the next moment. Nor is anything refused.
func TestConnectionsThroughPgBouncerAreLeftAlone(t *testing.T) {
	t.Parallel()
	dsn := testdb.PostgresDatabase(t)
	u, err := url.Parse(testdb.PgBouncer(t, dsn))
	require.NoError(t, err)
	q := u.Query()
	q.Set("default_query_exec_mode", "simple_protocol")
	u.RawQuery = q.Encode()
	wantJIT, wantTimeout := parameters(t, testdb.Open(t, dsn))
	db := openPool(t, u.String(), func(*config.Database) {})
	for range 10 {
		conn, err := db.Conn(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		jit, timeout := parameters(t, conn)
		require.Equal(t, wantJIT, jit)
		require.Equal(t, wantTimeout, timeout)
	}

	outbox("migrate", "up", "--database-url", u.String()).require(t, statusDone)
	insert(t, testdb.Open(t, dsn), "orders", `{}`)
	outbox("run", "--once", "--to", "console://stderr", "--database-url", u.String()).require(t, statusDone)
	require.Regexp(t, `pending +- +0 `, outbox("stats", "--database-url", u.String()).require(t, statusDone).stdout)
}

func TestPoolIsLimited(t *testing.T) {
	t.Parallel()
	db := openPool(t, testdb.PostgresDSN(t), func(c *config.Database) {
		c.PoolSize, c.PoolOverflow, c.PoolRecycle = 2, 3, 50*time.Millisecond
	})
	var open []*sql.Conn
	pid := func(c *sql.Conn) (n int) {
		require.NoError(t, c.QueryRowContext(t.Context(), `SELECT pg_backend_pid()`).Scan(&n))
		return n
	}
	for range 5 {
		c, err := db.Conn(t.Context())
		require.NoError(t, err)
		open = append(open, c)
	}
	first := pid(open[0])
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := db.Conn(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded, "a sixth")
	for _, c := range open {
		require.NoError(t, c.Close())
	}
	require.LessOrEqual(t, db.Stats().Idle, 2)
	await.That(t, func() bool {
		c, err := db.Conn(t.Context())
		require.NoError(t, err)
		defer c.Close()
		return pid(c) != first
	}, "the connection is never replaced")
}

// A connection that the server has ended is noticed before it is used.
func TestConnectionsAreAsked(t *testing.T) {
	t.Parallel()
	dsn := testdb.PostgresDSN(t)
	admin := testdb.Open(t, dsn)
	asked := func(ping bool) error {
		db := openPool(t, dsn, func(c *config.Database) { c.PoolPing = ping })
		var pid int
		require.NoError(t, db.QueryRowContext(t.Context(), `SELECT pg_backend_pid()`).Scan(&pid))
		_, err := admin.ExecContext(t.Context(), `SELECT pg_terminate_backend($1)`, pid)
		require.NoError(t, err)
		idle := time.Now()
		await.That(t, func() bool { return time.Since(idle) > 1100*time.Millisecond }) // asked when idle for a second
		tx, err := db.BeginTx(t.Context(), nil)
		if err == nil {
			err = tx.Rollback()
		}
		return err
	}
	require.NoError(t, asked(true))
	require.Error(t, asked(false))
}

package testdb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/stdlib"
)

// Hook sees every statement of a database that [Hooked] opened. A test makes it wait or fail, as a network would. Its functions may be
// changed while statements run, and must respect ctx if they wait.
type Hook struct {
	before, after atomic.Pointer[HookFunc]
}

// HookFunc is called with the text of a statement. Its error is what the caller of the statement gets.
type HookFunc func(ctx context.Context, query string) error

// Before sets what is called before a statement is sent; nil for nothing.
func (h *Hook) Before(f HookFunc) { h.before.Store(&f) }

// After sets what is called when a statement has succeeded, before its result is handed on; nil for nothing.
func (h *Hook) After(f HookFunc) { h.after.Store(&f) }

func run(f *atomic.Pointer[HookFunc], ctx context.Context, query string) error {
	if p := f.Load(); p != nil && *p != nil {
		return (*p)(ctx, query)
	}
	return nil
}

// Hooked opens a PostgreSQL database whose statements go through h. It is closed when the test ends.
func Hooked(t testing.TB, dsn string, h *Hook) *sql.DB {
	t.Helper()
	c, err := stdlib.GetDefaultDriver().(driver.DriverContext).OpenConnector(dsn)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(hookedConnector{c, h})
	db.SetMaxOpenConns(20)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

type hookedConnector struct {
	driver.Connector
	h *Hook
}

func (c hookedConnector) Connect(ctx context.Context) (driver.Conn, error) {
	if err := run(&c.h.before, ctx, "connect"); err != nil {
		return nil, err
	}
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return hookedConn{conn.(*stdlib.Conn), c.h}, nil
}

type hookedConn struct {
	*stdlib.Conn
	h *Hook
}

func (c hookedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := run(&c.h.before, ctx, query); err != nil {
		return nil, err
	}
	res, err := c.Conn.ExecContext(ctx, query, args)
	if err == nil {
		err = run(&c.h.after, ctx, query)
	}
	return res, err
}

func (c hookedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := run(&c.h.before, ctx, query); err != nil {
		return nil, err
	}
	rows, err := c.Conn.QueryContext(ctx, query, args)
	if err != nil {
		return nil, err
	}
	if err := run(&c.h.after, ctx, query); err != nil {
		return nil, rowsClosed(rows, err)
	}
	return rows, nil
}

func rowsClosed(rows driver.Rows, err error) error {
	_ = rows.Close()
	return err
}

func (c hookedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if err := run(&c.h.before, ctx, "begin"); err != nil {
		return nil, err
	}
	tx, err := c.Conn.BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	return hookedTx{tx, c.h}, nil
}

type hookedTx struct {
	driver.Tx
	h *Hook
}

func (t hookedTx) Commit() error {
	if err := run(&t.h.before, context.Background(), "commit"); err != nil {
		_ = t.Rollback()
		return err
	}
	if err := t.Tx.Commit(); err != nil {
		return err
	}
	return run(&t.h.after, context.Background(), "commit")
}

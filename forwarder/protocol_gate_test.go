package forwarder

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
)

// call is a statement of a member that waits for the test: before it is sent, or when it has taken effect and its result is on the way. A
// transaction counts as one statement.
type call struct {
	loop    string // of the engine
	what    string
	done    bool // it has taken effect
	release chan error
}

// String is for the log of a schedule that failed.
func (c *call) String() string {
	if what := strings.Join(strings.Fields(c.what), " "); c.done {
		return "done " + what[:min(len(what), 50)]
	} else {
		return "send " + what[:min(len(what), 50)]
	}
}

var (
	errCut     = errors.New("the connection broke")
	errCrashed = errors.New("the process is gone")
)

// loops are the goroutines of an engine, which run one statement at a time each.
var loops = []string{"(*Engine).Start", "(*leases).loop", "(*intake).loop", "(*settler).loop", "(*leases).leave"}

// currentLoop tells which of loops it is called by.
func currentLoop() string {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		if _, name, ok := strings.Cut(f.Function, "/internal/engine."); ok && slices.Contains(loops, name) {
			return name
		}
		if !more {
			panic("a statement comes from elsewhere than the engine's loops")
		}
	}
}

// pass waits for the test to let a statement go, before it or after.
func (m *member) pass(ctx context.Context, what string, done bool) error {
	m.mu.Lock()
	if m.crashed {
		m.mu.Unlock()
		return errCrashed
	}
	if !m.gated {
		m.mu.Unlock()
		return nil
	}
	c := &call{loop: currentLoop(), what: what, done: done, release: make(chan error)}
	if m.calls[c.loop] != nil {
		panic("two statements of one loop: " + m.calls[c.loop].what + " and " + what)
	}
	m.calls[c.loop] = c
	m.mu.Unlock()
	err := <-c.release
	if err == nil {
		err = ctx.Err() // a pause may have been longer than the time that the statement has
	}
	if c.loop == "(*settler).loop" && (err != nil || done) {
		m.mu.Lock()
		m.unwritten = err != nil
		m.mu.Unlock()
	}
	return err
}

// gated opens a database whose statements wait for the test.
func gated(c driver.Connector, m *member) *sql.DB { return sql.OpenDB(gatedConnector{c, m}) }

type gatedConnector struct {
	driver.Connector
	m *member
}

func (c gatedConnector) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &gatedConn{opened.(conn), c.m, false}, nil
}

// conn is what the drivers of PostgreSQL and SQLite both have.
type conn interface {
	driver.Conn
	driver.ExecerContext
	driver.QueryerContext
	driver.ConnBeginTx
	driver.SessionResetter
}

type gatedConn struct {
	conn
	m  *member
	tx bool
}

func (c *gatedConn) pass(ctx context.Context, what string, done bool) error {
	if c.tx {
		return nil
	}
	return c.m.pass(ctx, what, done)
}

func (c *gatedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := c.pass(ctx, query, false); err != nil {
		return nil, err
	}
	res, err := c.conn.ExecContext(ctx, query, args)
	if err == nil {
		err = c.pass(ctx, query, true)
	}
	return res, err
}

func (c *gatedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := c.pass(ctx, query, false); err != nil {
		return nil, err
	}
	rows, err := c.conn.QueryContext(ctx, query, args)
	if err != nil {
		return nil, err
	}
	if c.tx {
		return rows, nil
	}
	all, err := readAll(rows) // a statement is over when its rows are read
	if err != nil {
		return nil, err
	}
	if err := c.pass(ctx, query, true); err != nil {
		return nil, err
	}
	return all, nil
}

// memory are rows that were read.
type memory struct {
	columns []string
	rows    [][]driver.Value
}

func readAll(rows driver.Rows) (*memory, error) {
	m := &memory{columns: rows.Columns()}
	for {
		row := make([]driver.Value, len(m.columns))
		err := rows.Next(row)
		if errors.Is(err, io.EOF) {
			return m, rows.Close()
		}
		if err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		for i, v := range row {
			if b, ok := v.([]byte); ok {
				row[i] = slices.Clone(b)
			}
		}
		m.rows = append(m.rows, row)
	}
}

func (m *memory) Columns() []string { return m.columns }

func (m *memory) Close() error { return nil }

func (m *memory) Next(row []driver.Value) error {
	if len(m.rows) == 0 {
		return io.EOF
	}
	copy(row, m.rows[0])
	m.rows = m.rows[1:]
	return nil
}

func (c *gatedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if err := c.pass(ctx, "begin", false); err != nil {
		return nil, err
	}
	tx, err := c.conn.BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	c.tx = true
	return gatedTx{tx, c}, nil
}

// CheckNamedValue lets the driver take values of its own, where it does.
func (c *gatedConn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.conn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

type gatedTx struct {
	driver.Tx
	c *gatedConn
}

func (t gatedTx) Commit() error {
	t.c.tx = false
	if err := t.Tx.Commit(); err != nil {
		return err
	}
	return t.c.pass(context.Background(), "commit", true)
}

func (t gatedTx) Rollback() error {
	t.c.tx = false
	return t.Tx.Rollback()
}

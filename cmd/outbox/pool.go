package main

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
)

// pool says how connections are kept and what they are set to.
type pool struct {
	size, overflow int
	recycle        time.Duration
	ping           bool
	session        map[string]string // PostgreSQL's parameters of each connection
}

// commandPool is that of commands that end: an operator's statement takes as long as it takes.
var commandPool = pool{size: 2, overflow: 8, ping: true}

// daemonPool is that of a forwarder.
func daemonPool(c config.Database) pool {
	p := pool{size: c.PoolSize, overflow: c.PoolOverflow, recycle: c.PoolRecycle, ping: c.PoolPing, session: map[string]string{}}
	if !c.JIT {
		p.session["jit"] = "off"
	}
	if c.StatementTimeout > 0 {
		p.session["statement_timeout"] = fmt.Sprintf("%dms", c.StatementTimeout.Milliseconds())
	}
	return p
}

func (p pool) limit(db *sql.DB) {
	db.SetMaxOpenConns(p.size + p.overflow)
	db.SetMaxIdleConns(p.size)
	db.SetConnMaxLifetime(p.recycle)
	db.SetConnMaxIdleTime(5 * time.Minute)
}

func (p pool) postgres() []stdlib.OptionOpenDB {
	options := []stdlib.OptionOpenDB{stdlib.OptionAfterConnect(p.set)}
	if !p.ping {
		options = append(options, stdlib.OptionShouldPing(func(context.Context, stdlib.ShouldPingParams) bool { return false }))
	}
	return options
}

// set sets the parameters of a new connection, unless a pooler stands between: there the next statement may run on another connection, and
// this one be somebody else's. It is told by the process id, which poolers invent. Neither is refused, as start-up options would be.
func (p pool) set(ctx context.Context, conn *pgx.Conn) error {
	if len(p.session) == 0 {
		return nil
	}
	var calls []string
	for name, value := range p.session {
		calls = append(calls, fmt.Sprintf("set_config('%s', '%s', false)", name, value))
	}
	query := fmt.Sprintf("SELECT %s WHERE pg_backend_pid() = %d", strings.Join(calls, ", "), conn.PgConn().PID())
	_, err := conn.PgConn().Exec(ctx, query).ReadAll()
	return err
}

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

// pool configures the connections to a database.
type pool struct {
	size, overflow int
	recycle        time.Duration
	ping           bool
	session        map[string]string // PostgreSQL parameters of each connection
}

// commandPool is the pool of commands other than run. It has no time limit for statements.
var commandPool = pool{size: 2, overflow: 8, ping: true}

// daemonPool returns the pool of a forwarder.
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

// set sets the parameters of a new connection, but not through a pooler, where the connection may serve other clients next. A pooler is recognised by
// the process id, which it makes up. Start-up options would be refused by poolers.
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

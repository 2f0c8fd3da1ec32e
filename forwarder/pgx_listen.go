package forwarder

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/bento-outbox/watermill-outbox/internal/dialect"
	"github.com/bento-outbox/watermill-outbox/internal/engine"
)

var errListenDriver = errors.New("SubscriberConfig.Listen needs PostgreSQL and the driver pgx (github.com/jackc/pgx/v5/stdlib)")

func checkListen(db *sql.DB) error {
	if _, ok := db.Driver().(*stdlib.Driver); !ok {
		return errListenDriver
	}
	return nil
}

// listen calls wake at each notification, until ctx ends. Without a connection the engine sleeps as it would anyway.
func (g *group) listen(ctx context.Context, wake func()) {
	for failures := 0; ; failures++ {
		heard, err := g.hear(ctx, wake)
		if ctx.Err() != nil {
			return
		}
		if heard {
			failures = 0
		}
		if engine.Notable(failures + 1) {
			g.logger.Error("Cannot listen for notifications; polling goes on, and so do attempts to listen", err, nil)
		}
		t := time.NewTimer(engine.Backoff(failures))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}

// hear listens on a connection of its own until that breaks or ctx ends. Heard reports whether it ever listened.
func (g *group) hear(ctx context.Context, wake func()) (heard bool, err error) {
	conn, err := g.db.Conn(ctx)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }()
	err = conn.Raw(func(c any) error {
		native, ok := c.(*stdlib.Conn)
		if !ok {
			return errListenDriver
		}
		if _, err := native.Conn().Exec(ctx, "LISTEN "+pgx.Identifier{dialect.TablesOf(g.cfg.Schema.Names.Schema, g.cfg.Schema.Names.Prefix).Channel()}.Sanitize()); err != nil {
			return err
		}
		heard = true
		for {
			wake() // also at first: what came before is not heard
			if _, err := native.Conn().WaitForNotification(ctx); err != nil {
				return fmt.Errorf("%w: %w", driver.ErrBadConn, err) // not back to the pool: it listens
			}
		}
	})
	return heard, err
}

package forwarder

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/bento-outbox/watermill-outbox/internal/dialect"
)

var errListenDriver = errors.New("SubscriberConfig.Listen needs PostgreSQL and the driver pgx (github.com/jackc/pgx/v5/stdlib)")

func checkListen(db *sql.DB) error {
	if _, ok := db.Driver().(*stdlib.Driver); !ok {
		return errListenDriver
	}
	return nil
}

// listen wakes the poll loop at each notification, until the reader stops. Without a connection the loop sleeps as it would anyway.
func (r *reader) listen() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-r.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	for failures := 0; ; failures++ {
		heard, err := r.hear(ctx)
		if ctx.Err() != nil {
			return
		}
		if heard {
			failures = 0
		}
		if notable(failures + 1) {
			r.logger.Error("Cannot listen for notifications; polling goes on, and so do attempts to listen", err, nil)
		}
		r.pause(backoff(failures))
	}
}

// hear listens on a connection of its own until that breaks or ctx ends. Heard tells whether it ever listened.
func (r *reader) hear(ctx context.Context) (heard bool, err error) {
	conn, err := r.sub.db.Conn(ctx)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }()
	err = conn.Raw(func(c any) error {
		native, ok := c.(*stdlib.Conn)
		if !ok {
			return errListenDriver
		}
		if _, err := native.Conn().Exec(ctx, "LISTEN "+pgx.Identifier{dialect.TablesOf(r.cfg.Schema.Names.Schema, r.cfg.Schema.Names.Prefix).Channel()}.Sanitize()); err != nil {
			return err
		}
		heard = true
		for {
			r.wakePoll.give() // also at first: what came before is not heard
			if _, err := native.Conn().WaitForNotification(ctx); err != nil {
				return fmt.Errorf("%w: %w", driver.ErrBadConn, err) // not back to the pool: it listens
			}
		}
	})
	return heard, err
}

package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	_ "modernc.org/sqlite"             // driver "sqlite"

	"github.com/bento-outbox/watermill-outbox/schema"
)

// database is the shop's. The outbox lives in it, for only so can one transaction hold an order and its events.
type database struct {
	*sql.DB
	outbox            schema.Config // which tables are the outbox
	customers, orders string        // names of the shop's tables
	migrations        int           // how many were applied
	directory         string        // of a temporary database
}

// openDatabase opens the database of a URL, or a temporary one, and creates tables that disturb nobody else's.
func openDatabase(ctx context.Context, url string) (_ *database, err error) {
	prefix := "demo_" + strings.ToLower(rand.Text()[:8])
	d := &database{customers: prefix + "_customers", orders: prefix + "_orders"}
	d.outbox.Names.Prefix = prefix + "_outbox"

	if url == "" {
		if d.directory, err = os.MkdirTemp("", "outbox-demo-"); err != nil {
			return nil, err
		}
		url = "sqlite:" + filepath.Join(d.directory, "shop.db")
	}
	driver, source := "pgx", url
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		// Write-ahead log, and writers that wait for each other instead of failing.
		driver, source = "sqlite", "file:"+strings.TrimPrefix(path, "//")+
			"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_pragma=synchronous(NORMAL)&_txlock=immediate"
	} else if !strings.HasPrefix(url, "postgres") {
		return nil, errors.New("the database URL must start with postgres:// or sqlite:")
	}
	if d.DB, err = sql.Open(driver, source); err != nil {
		return nil, err
	}
	d.SetMaxOpenConns(12)
	if d.outbox.Dialect, err = schema.DialectOf(d.DB); err != nil {
		return nil, err
	}
	if err := d.createTables(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot set up the database: %w", err), d.drop())
	}
	return d, nil
}

func (d *database) createTables(ctx context.Context) error {
	migrator, err := schema.NewMigrator(d.DB, d.outbox)
	if err != nil {
		return err
	}
	applied, err := migrator.Up(ctx)
	d.migrations = len(applied)
	if err != nil {
		return err
	}
	for _, query := range []string{
		`CREATE TABLE ` + d.customers + ` (id TEXT PRIMARY KEY, orders INTEGER NOT NULL)`,
		`CREATE TABLE ` + d.orders + ` (id TEXT PRIMARY KEY, customer TEXT NOT NULL, number INTEGER NOT NULL)`,
	} {
		if _, err := d.ExecContext(ctx, query); err != nil {
			return err
		}
	}
	for i := range customers {
		_, err := d.ExecContext(ctx, `INSERT INTO `+d.customers+` (id, orders) VALUES ($1, 0)`, customerID(i))
		if err != nil {
			return err
		}
	}
	return nil
}

// drop removes everything that openDatabase created, also after an interrupt.
func (d *database) drop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var errs []error
	if migrator, err := schema.NewMigrator(d.DB, d.outbox); err != nil {
		errs = append(errs, err)
	} else {
		for range d.migrations {
			_, err := migrator.Down(ctx)
			errs = append(errs, err)
		}
	}
	if d.migrations > 0 {
		_, err := d.ExecContext(ctx, `DROP TABLE IF EXISTS `+d.orders)
		_, err2 := d.ExecContext(ctx, `DROP TABLE IF EXISTS `+d.customers)
		errs = append(errs, err, err2)
	}
	errs = append(errs, d.Close())
	if d.directory != "" {
		errs = append(errs, os.RemoveAll(d.directory))
	}
	return errors.Join(errs...)
}

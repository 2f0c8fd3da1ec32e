package main

import (
	"context"
	"database/sql"
	"errors"
	"os"

	_ "modernc.org/sqlite"

	"github.com/bento-outbox/watermill-outbox/schema"
)

// openDatabase makes a database with the application's table and those of the outbox, for as long as the program runs.
func openDatabase(ctx context.Context) (*sql.DB, func(), error) {
	dir, err := os.MkdirTemp("", "outbox")
	if err != nil {
		return nil, nil, err
	}
	db, err := sql.Open("sqlite", "file:"+dir+"/shop.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_txlock=immediate")
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	cleanUp := func() {
		_ = db.Close()
		_ = os.RemoveAll(dir)
	}
	if err := createTables(ctx, db); err != nil {
		cleanUp()
		return nil, nil, err
	}
	return db, cleanUp, nil
}

func createTables(ctx context.Context, db *sql.DB) error {
	migrator, err := schema.NewMigrator(db, schema.Config{})
	if err != nil {
		return err
	}
	if _, err := migrator.Up(ctx); err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `CREATE TABLE orders (id TEXT PRIMARY KEY, total INTEGER)`)
	return err
}

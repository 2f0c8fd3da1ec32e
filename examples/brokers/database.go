package main

import (
	"context"
	"database/sql"
	"errors"
	"os"

	_ "modernc.org/sqlite"

	"github.com/bento-outbox/watermill-outbox/schema"
)

// openDatabase makes a database with the tables of an outbox, for as long as cleanUp is not called.
func openDatabase(ctx context.Context) (db *sql.DB, cleanUp func(), err error) {
	dir, err := os.MkdirTemp("", "outbox")
	if err != nil {
		return nil, nil, err
	}
	db, err = sql.Open("sqlite", "file:"+dir+"/shop.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_txlock=immediate")
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	cleanUp = func() {
		_ = db.Close()
		_ = os.RemoveAll(dir)
	}
	migrator, err := schema.NewMigrator(db, schema.Config{})
	if err == nil {
		_, err = migrator.Up(ctx)
	}
	if err != nil {
		cleanUp()
		return nil, nil, err
	}
	return db, cleanUp, nil
}

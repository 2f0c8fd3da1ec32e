package testdb

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"

	"github.com/bento-outbox/watermill-outbox/schema"
)

// Example returns a SQLite database with the tables of the outbox for an Example function, which has no *testing.T, and a function that removes it.
func Example(ctx context.Context) (db *sql.DB, remove func()) {
	dir, err := os.MkdirTemp("", "outbox")
	if err != nil {
		panic(err)
	}
	db, err = sql.Open("sqlite", "file:"+filepath.Join(dir, "shop.db")+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(60000)&_txlock=immediate")
	if err != nil {
		panic(err)
	}
	m, err := schema.NewMigrator(db, schema.Config{})
	if err != nil {
		panic(err)
	}
	if _, err := m.Up(ctx); err != nil {
		panic(err)
	}
	return db, func() {
		_ = db.Close()
		_ = os.RemoveAll(dir)
	}
}

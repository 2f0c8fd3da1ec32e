package schema

import (
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/bento-outbox/watermill-outbox/internal/dialect"
)

// Dialect names the SQL of one database.
type Dialect string

const (
	// PostgreSQL is the dialect of PostgreSQL 12 and later. It works through PgBouncer in transaction mode and with pgx's simple protocol.
	PostgreSQL Dialect = "postgres"
	// SQLite is the dialect of SQLite 3.38 and later, through any driver. Writers must be one at a time and wait for each other:
	// open it with WAL, a busy timeout and immediate transactions, for modernc.org/sqlite
	//
	//	file:app.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_pragma=synchronous(NORMAL)&_txlock=immediate
	SQLite Dialect = "sqlite"
)

// ErrUnknownDialect is wrapped by the error for a driver or a name that is not known.
var ErrUnknownDialect = errors.New("unknown SQL dialect")

// DialectOf returns the dialect of db by its driver: pgx, lib/pq, modernc.org/sqlite and mattn/go-sqlite3 are known. It does no I/O. The error
// wraps [ErrUnknownDialect].
func DialectOf(db *sql.DB) (Dialect, error) {
	if db == nil {
		return "", errors.New("database is nil")
	}
	name := reflect.TypeOf(db.Driver()).String()
	switch {
	case strings.HasPrefix(name, "*stdlib."), strings.HasPrefix(name, "*pq."):
		return PostgreSQL, nil
	case strings.Contains(strings.ToLower(name), "sqlite"):
		return SQLite, nil
	}
	return "", fmt.Errorf("%w: driver %s; set the Dialect field to schema.PostgreSQL or schema.SQLite", ErrUnknownDialect, name)
}

// values returns how values of d are encoded.
func (d Dialect) values() dialect.Dialect { return dialect.Named(string(d)) }

func (d Dialect) validate() error {
	if d.values() == nil {
		return fmt.Errorf("%w %q: want %q or %q", ErrUnknownDialect, string(d), PostgreSQL, SQLite)
	}
	return nil
}

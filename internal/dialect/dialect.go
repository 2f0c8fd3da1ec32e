// Package dialect knows how each kind of database wants its values, its errors read, and the tables of the outbox named. The SQL text is in the
// packages that run it.
package dialect

import (
	"database/sql"
	"encoding/json"
	"errors"
	"time"
)

// Dialect is how Go values become parameters of one kind of database, and what its errors mean.
type Dialect interface {
	// String returns the name of the dialect: "postgres" or "sqlite".
	String() string
	// Ints and Strs encode an array parameter.
	Ints([]int64) string
	Strs([]string) string
	// Time encodes a point in time; the zero time is NULL.
	Time(time.Time) any
	// TimeScanner returns a value for Scan that stores what it reads in dst; NULL is the zero time.
	TimeScanner(dst *time.Time) any
	// TxOptions are the options of the outbox's own transactions.
	TxOptions() *sql.TxOptions
	// Retryable reports whether the same transaction may succeed when it is run again: a deadlock, a busy database.
	Retryable(error) bool
	// LockTimeout reports whether err says that a lock could not be had in time.
	LockTimeout(error) bool
	// MissingTable reports whether err says that a table of the outbox is missing.
	MissingTable(error) bool
}

// The dialects.
var (
	PostgreSQL Dialect = postgres{}
	SQLite     Dialect = sqlite{}
)

// Named returns the dialect with a name, nil when there is none.
func Named(name string) Dialect {
	for _, d := range []Dialect{PostgreSQL, SQLite} {
		if d.String() == name {
			return d
		}
	}
	return nil
}

// SQLiteNow is the time of the statement as SQLite stores times.
const SQLiteNow = `strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')`

// StoredColumns are the columns of an event that its writer gives.
const StoredColumns = `id, tenant_id, aggregate_type, aggregate_id, topic, occurred_at, schema_id, schema_version, payload,
	payload_bytes, tombstone, event_metadata, routing_key, routing_config, routing_version, ordering_key`

// Null returns s as a parameter; an empty one is NULL.
func Null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// SQLState returns the SQLSTATE of err, as pgx and lib/pq report it.
func SQLState(err error) string {
	var s interface{ SQLState() string }
	if errors.As(err, &s) {
		return s.SQLState()
	}
	return ""
}

func jsonArray[T any](v []T) string {
	if v == nil {
		v = []T{}
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // numbers and strings cannot fail
	}
	return string(b)
}

package schema

import (
	"fmt"

	"github.com/bento-outbox/watermill-outbox/internal/dialect"
)

// statements are what a [Migrator] runs beside the migrations.
type statements struct {
	lock           string // first statement of a migration's transaction; waits for others
	currentSchema  string // name of the schema that unqualified names resolve to; empty when there is none
	hasTable       string // $1 table
	createVersions string
	versions       string
}

// standardDates makes PostgreSQL write times in one way, whatever the database or the role is set to, for drivers that get values as text.
const standardDates = `set_config('DateStyle', 'ISO', true) IS NOT NULL`

func postgresStatements(t dialect.Tables) statements {
	return statements{
		lock:          fmt.Sprintf(`SELECT pg_advisory_xact_lock(hashtextextended('watermill-outbox %s', 0))`, t.Prefix),
		currentSchema: `SELECT COALESCE(current_schema(), '')`,
		hasTable:      `SELECT to_regclass($1::text) IS NOT NULL`,
		createVersions: `CREATE TABLE IF NOT EXISTS ` + t.Migrations + ` (version integer PRIMARY KEY, name text NOT NULL,
			identity text NOT NULL, applied_at timestamptz NOT NULL DEFAULT clock_timestamp())`,
		versions: `SELECT version, name, identity, applied_at FROM ` + t.Migrations + ` WHERE (SELECT ` + standardDates + `) ORDER BY version`,
	}
}

func sqliteStatements(t dialect.Tables) statements {
	return statements{
		lock:          `PRAGMA user_version = 0`,
		currentSchema: `SELECT ''`,
		hasTable:      `SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE '"' || name || '"' = ?1)`,
		createVersions: `CREATE TABLE IF NOT EXISTS ` + t.Migrations + ` (version INTEGER PRIMARY KEY, name TEXT NOT NULL,
			identity TEXT NOT NULL, applied_at TEXT NOT NULL DEFAULT (` + dialect.SQLiteNow + `))`,
		versions: `SELECT version, name, identity, applied_at FROM ` + t.Migrations + ` ORDER BY version`,
	}
}

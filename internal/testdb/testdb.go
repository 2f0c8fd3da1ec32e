// Package testdb opens databases for tests: each test gets its own, empty but for the outbox tables.
package testdb

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	_ "modernc.org/sqlite"             // driver "sqlite"

	"github.com/bento-outbox/watermill-outbox/schema"
)

// PostgresURL is the environment variable that names the PostgreSQL server tests run on.
const PostgresURL = "OUTBOX_TEST_POSTGRES_URL"

// Each runs f as a subtest on every dialect: on SQLite always, on PostgreSQL where [PostgresURL] names a server.
func Each(t *testing.T, f func(t *testing.T, db *sql.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { t.Parallel(); f(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { t.Parallel(); f(t, Postgres(t)) })
}

// SQLite returns a new database in a file, migrated.
func SQLite(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", SQLiteDSN(filepath.Join(t.TempDir(), "outbox.db")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return Migrated(t, db)
}

// SQLiteDSN is the data source name that takes concurrent writers without a busy error: SQLite lets waiting writers try in no order, so that one may wait
// long on a busy machine.
func SQLiteDSN(file string) string {
	return "file:" + file + "?_pragma=journal_mode(WAL)&_pragma=busy_timeout(60000)&_pragma=synchronous(NORMAL)&_pragma=foreign_keys(1)&_txlock=immediate"
}

// Postgres returns a connection to a new PostgreSQL schema, migrated, or skips the test where no server is named.
func Postgres(t testing.TB) *sql.DB {
	t.Helper()
	return Migrated(t, Open(t, PostgresDSN(t)))
}

// PostgresDSN returns the URL of a new, empty PostgreSQL schema, dropped when the test ends.
func PostgresDSN(t testing.TB) string {
	t.Helper()
	base, name := server(t), newName()
	admin := Open(t, base)
	if _, err := admin.Exec("CREATE SCHEMA " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.ExecContext(context.Background(), "DROP SCHEMA "+name+" CASCADE"); err != nil {
			t.Errorf("drop schema: %v", err)
		}
	})
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	return u.String()
}

// PostgresDatabase returns the URL of a new, empty PostgreSQL database, dropped when the test ends; a copy of template when that is not
// empty.
func PostgresDatabase(t testing.TB, template ...string) string {
	t.Helper()
	base, name := server(t), newName()
	admin := Open(t, base)
	create := "CREATE DATABASE " + name
	if len(template) > 0 {
		create += " TEMPLATE " + template[0]
	}
	if _, err := admin.ExecContext(context.Background(), create); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// PostgreSQL 12 cannot drop a database by force.
		for _, query := range []string{
			"ALTER DATABASE " + name + " ALLOW_CONNECTIONS false",
			"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '" + name + "'",
		} {
			if _, err := admin.ExecContext(context.Background(), query); err != nil {
				t.Errorf("end connections: %v", err)
			}
		}
		// A process that was told to end takes a moment.
		var err error
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
			if _, err = admin.ExecContext(context.Background(), "DROP DATABASE "+name); err == nil {
				return
			}
		}
		t.Errorf("drop database: %v", err)
	})
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

func server(t testing.TB) string {
	t.Helper()
	base := os.Getenv(PostgresURL)
	if base == "" {
		t.Skip("skipped: " + PostgresURL + " names no PostgreSQL server; make test starts one")
	}
	return base
}

func newName() string {
	b := make([]byte, 6)
	_, _ = rand.Read(b)
	return fmt.Sprintf("test_%x", b)
}

// Open returns a connection to dsn, closed when the test ends.
func Open(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(20)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// Migrated creates the outbox tables in db.
func Migrated(t testing.TB, db *sql.DB) *sql.DB {
	t.Helper()
	m, err := schema.NewMigrator(db, schema.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Up(context.Background()); err != nil {
		t.Fatal(err)
	}
	return db
}

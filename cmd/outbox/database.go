package main

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/bento-outbox/watermill-outbox/admin"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// databaseFlags are the flags of every command that needs a database.
type databaseFlags struct {
	tableFlags
	DatabaseURL string `setting:"" name:"database-url"`
}

// tableFlags name the tables.
type tableFlags struct {
	TablePrefix string `setting:""`
	Schema      string `setting:""`
}

// database is a database and the names of the tables in it.
type database struct {
	source
	tables schema.Config
	pool   pool
}

// database returns the database that the settings name, without connecting to it.
func (s *session) database() database {
	url := s.config.DatabaseURL
	if url == "" {
		s.faults.Add("no database: set --database-url or DATABASE_URL, or database_url in the file of --config")
	}
	from, err := parseSource(url)
	if err != nil && url != "" {
		s.faults.Add("%s: %w", s.place("database_url"), err)
	}
	return database{source: from, tables: s.tables(from.dialect), pool: commandPool}
}

// tables returns the names of the tables that the settings name.
func (s *session) tables(dialect schema.Dialect) schema.Config {
	names := s.config.Names()
	try := func(key string, names schema.Names) {
		if err := names.Validate(); err != nil {
			s.faults.Add("%s: %w", s.place(key), err)
		}
	}
	try("table_prefix", schema.Names{Prefix: names.Prefix})
	try("schema", schema.Names{Schema: names.Schema})
	if names.Schema != "" && dialect == schema.SQLite {
		s.faults.Add("%s: SQLite has no schemas; leave it out", s.place("schema"))
	}
	return schema.Config{Dialect: dialect, Names: names}
}

const connectTimeout = 10 * time.Second

// open connects to the database. With create, a SQLite file that is not there is created.
func (d database) open(ctx context.Context, create bool) (*sql.DB, error) {
	db := d.sqlDB(create, d.pool)
	d.pool.limit(db)
	ctx, cancel := context.WithTimeout(ctx, connectTimeout*time.Duration(max(1, d.hosts)))
	defer cancel()
	if err := db.PingContext(ctx); err != nil {
		_ = db.Close()
		return nil, err
	}
	return db, nil
}

// failure is an outcome of a command that is no fault of the database.
type failure string

// Error returns the text of f.
func (f failure) Error() string { return string(f) }

func failf(format string, args ...any) error { return failure(fmt.Sprintf(format, args...)) }

// withDatabase opens target and calls work, unless the command line has faults. The context ends with SIGINT or SIGTERM. Errors are explained, except
// for a [failure].
func (s *session) withDatabase(target database, create bool, work func(context.Context, *sql.DB) error) error {
	if err := s.faults.Err(); err != nil {
		return err
	}
	ctx, stop := interruptible(context.Background(), nil)
	defer stop()
	db, err := target.open(ctx, create)
	if err != nil {
		return target.explain(err)
	}
	defer db.Close()
	return target.explain(work(ctx, db))
}

// withStore is withDatabase for tables that exist.
func (s *session) withStore(target database, work func(context.Context, *store.Store) error) error {
	return s.withDatabase(target, false, func(ctx context.Context, db *sql.DB) error {
		st, err := store.Open(ctx, db, target.tables)
		if err != nil {
			return err
		}
		return work(ctx, st)
	})
}

// withAdmin is withStore for what operators change.
func (s *session) withAdmin(target database, work func(context.Context, *admin.Client) error) error {
	return s.withDatabase(target, false, func(ctx context.Context, db *sql.DB) error {
		client, err := admin.NewClient(ctx, db, target.tables)
		if err != nil {
			return err
		}
		return work(ctx, client)
	})
}

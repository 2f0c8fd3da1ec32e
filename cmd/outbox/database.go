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

// open connects to the database, which must exist.
func (d database) open(ctx context.Context) (*sql.DB, error) { return d.connect(ctx, false) }

// openOrCreate connects to the database; a SQLite file is created where there is none.
func (d database) openOrCreate(ctx context.Context) (*sql.DB, error) { return d.connect(ctx, true) }

func (d database) connect(ctx context.Context, create bool) (*sql.DB, error) {
	db := d.sqlDB(create, d.pool)
	d.pool.limit(db)
	ctx, cancel := context.WithTimeout(ctx, connectTimeout*time.Duration(max(1, d.hosts)))
	defer cancel()
	if err := db.PingContext(ctx); err != nil {
		_ = db.Close()
		return nil, d.explain(err)
	}
	return db, nil
}

func (d database) migrator(db *sql.DB) (*schema.Migrator, error) {
	m, err := schema.NewMigrator(db, d.tables)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.name, err)
	}
	return m, nil
}

// withDatabase does work on what open connects to, when the command line has no fault. Its context ends with SIGINT or SIGTERM.
func (s *session) withDatabase(open func(context.Context) (*sql.DB, error), work func(context.Context, *sql.DB) error) error {
	if err := s.faults.Err(); err != nil {
		return err
	}
	ctx, stop := interruptible(context.Background(), nil)
	defer stop()
	db, err := open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	return work(ctx, db)
}

// withStore is withDatabase for tables, which must be there.
func (s *session) withStore(target database, work func(context.Context, *store.Store) error) error {
	return s.withDatabase(target.open, func(ctx context.Context, db *sql.DB) error {
		st, err := store.Open(ctx, db, target.tables)
		if err != nil {
			return target.explain(err)
		}
		return work(ctx, st)
	})
}

// withAdmin is withStore for what operators do.
func (s *session) withAdmin(target database, work func(context.Context, *admin.Client) error) error {
	return s.withDatabase(target.open, func(ctx context.Context, db *sql.DB) error {
		client, err := admin.NewClient(ctx, db, target.tables)
		if err != nil {
			return target.explain(err)
		}
		return work(ctx, client)
	})
}

package main

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/bento-outbox/watermill-outbox/schema"
)

// databaseFlags are the flags of every command that needs a database.
type databaseFlags struct {
	tableFlags
	DatabaseURL setting `name:"database-url" placeholder:"URL" help:"${help_database_url}"`
}

// tableFlags name the tables.
type tableFlags struct {
	TablePrefix setting `placeholder:"NAME" help:"${help_table_prefix}"`
	Schema      setting `placeholder:"NAME" help:"${help_schema}"`
}

// database is where the tables are.
type database struct {
	source
	tables schema.Config
	pool   pool
}

// check returns the database that the flags name, without connecting to it.
func (d databaseFlags) check(f *faults) database {
	if d.DatabaseURL.text == "" {
		f.add("no database: set --database-url or DATABASE_URL, or database_url in the file of --config")
	}
	s, err := parseSource(d.DatabaseURL.text)
	if err != nil && d.DatabaseURL.text != "" {
		f.add("%s: %w", d.DatabaseURL.place, err)
	}
	return database{source: s, tables: d.tableFlags.check(s.dialect, f), pool: commandPool}
}

func (t tableFlags) check(dialect schema.Dialect, f *faults) schema.Config {
	try := func(s setting, names schema.Names) {
		if _, err := schema.NewAdapter(schema.AdapterConfig{Config: schema.Config{Names: names}}); err != nil {
			f.add("%s: %w", s.place, err)
		}
	}
	try(t.TablePrefix, schema.Names{Prefix: t.TablePrefix.text})
	try(t.Schema, schema.Names{Schema: t.Schema.text})
	if t.Schema.text != "" && dialect == schema.SQLite {
		f.add("%s: SQLite has no schemas; leave it out", t.Schema.place)
	}
	return schema.Config{Dialect: dialect, Names: schema.Names{Prefix: t.TablePrefix.text, Schema: t.Schema.text}}
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
	if err := s.faults.err(); err != nil {
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
func (s *session) withStore(target database, work func(context.Context, *schema.Store) error) error {
	return s.withDatabase(target.open, func(ctx context.Context, db *sql.DB) error {
		store, err := schema.OpenStore(ctx, db, target.tables)
		if err != nil {
			return target.explain(err)
		}
		return work(ctx, store)
	})
}

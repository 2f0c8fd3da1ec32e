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
	DatabaseURL string `name:"database-url" env:"DATABASE_URL" placeholder:"URL" help:"postgres://user:password@host/database, sqlite:path or sqlite:///path. DATABASE_URL in the environment keeps the password out of the list of processes."`
}

// tableFlags name the tables.
type tableFlags struct {
	TablePrefix string `default:"outbox" placeholder:"NAME" help:"What the names of the tables start with (outbox)."`
	Schema      string `placeholder:"NAME" help:"PostgreSQL schema of the tables; by default the first of the search_path."`
}

// database is where the tables are.
type database struct {
	source
	tables schema.Config
}

// check returns the database that the flags name, without connecting to it.
func (d databaseFlags) check(f *faults) database {
	if d.DatabaseURL == "" {
		f.add("no database: set --database-url or DATABASE_URL")
	}
	s, err := parseSource(d.DatabaseURL)
	if err != nil && d.DatabaseURL != "" {
		f.add("--database-url: %w", err)
	}
	return database{source: s, tables: d.tableFlags.check(s.dialect, f)}
}

func (t tableFlags) check(dialect schema.Dialect, f *faults) schema.Config {
	try := func(flag string, names schema.Names) {
		if _, err := schema.NewAdapter(schema.AdapterConfig{Config: schema.Config{Names: names}}); err != nil {
			f.add("%s: %w", flag, err)
		}
	}
	try("--table-prefix", schema.Names{Prefix: t.TablePrefix})
	try("--schema", schema.Names{Schema: t.Schema})
	if t.Schema != "" && dialect == schema.SQLite {
		f.add("--schema: SQLite has no schemas; leave it out")
	}
	return schema.Config{Dialect: dialect, Names: schema.Names{Prefix: t.TablePrefix, Schema: t.Schema}}
}

const connectTimeout = 10 * time.Second

// open connects to the database, which must exist.
func (d database) open(ctx context.Context) (*sql.DB, error) { return d.connect(ctx, false) }

// openOrCreate connects to the database; a SQLite file is created where there is none.
func (d database) openOrCreate(ctx context.Context) (*sql.DB, error) { return d.connect(ctx, true) }

func (d database) connect(ctx context.Context, create bool) (*sql.DB, error) {
	db := d.sqlDB(create)
	db.SetMaxOpenConns(10)
	db.SetConnMaxIdleTime(5 * time.Minute)
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := db.PingContext(ctx); err != nil {
		_ = db.Close()
		return nil, d.explain(err)
	}
	return db, nil
}

// openStore connects and checks that the tables are there.
func (d database) openStore(ctx context.Context) (*sql.DB, *schema.Store, error) {
	db, err := d.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	store, err := schema.OpenStore(ctx, db, d.tables)
	if err != nil {
		_ = db.Close()
		return nil, nil, d.explain(err)
	}
	return db, store, nil
}

func (d database) migrator(db *sql.DB) (*schema.Migrator, error) {
	m, err := schema.NewMigrator(db, d.tables)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.name, err)
	}
	return m, nil
}

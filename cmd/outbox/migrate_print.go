package main

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/bento-outbox/watermill-outbox/schema"
)

type migratePrint struct {
	databaseFlags
	partitionFlags
	Direction string `default:"up" placeholder:"up|down" help:"up or down (default up)."`
	Dialect   string `placeholder:"postgres|sqlite" help:"postgres or sqlite. Defaults to that of the database URL."`
}

var dialects = map[string]schema.Dialect{
	"postgres": schema.PostgreSQL, "postgresql": schema.PostgreSQL, "sqlite": schema.SQLite, "sqlite3": schema.SQLite,
}

// Run prints the SQL of all migrations and changes nothing. It asks PostgreSQL, if a URL names one, which schema migrate up would use.
func (c *migratePrint) Run(s *session) error {
	dialect, known := dialects[c.Dialect]
	switch {
	case c.Dialect != "" && !known:
		s.faults.Add("--dialect: %q is neither postgres nor sqlite", c.Dialect)
	case c.Dialect == "" && s.config.DatabaseURL == "":
		s.faults.Add("no dialect: set --dialect to postgres or sqlite, or name a database with --database-url or DATABASE_URL")
	}
	var from source
	if s.config.DatabaseURL != "" && (c.Dialect == "" || known) {
		var err error
		if from, err = parseSource(s.config.DatabaseURL); err != nil {
			s.faults.Add("%s: %w", s.place("database_url"), err)
		}
		if c.Dialect == "" {
			dialect = from.dialect
		}
	}
	if c.Direction != "up" && c.Direction != "down" {
		s.faults.Add("--direction: %q is neither up nor down", c.Direction)
	}
	why, unasked := "set by --schema", false
	if path := from.searchPath(); s.config.Schema == "" && dialect == schema.PostgreSQL {
		s.config.Schema, s.config.Origins["schema"] = "public", s.config.Origins["database_url"]
		why = "because neither --schema nor the search_path of a database URL sets another"
		if len(path) > 0 {
			s.config.Schema = path[0]
			why = "set by the search_path of the database URL; --schema overrides it"
		}
		if len(path) > 1 {
			why = "the first in the search_path of the database URL; --schema overrides it"
		}
		if from.postgres != nil && len(s.faults.Faults) == 0 {
			name, answered := currentSchema(database{source: from, pool: commandPool})
			if name != "" {
				s.config.Schema, why = name, "where the database creates tables for this user; --schema overrides it"
			}
			unasked = !answered
		}
	}
	tables := s.tables(dialect)
	tables.PartitionSize = c.check(dialect, &s.faults)
	if err := s.faults.Err(); err != nil {
		return err
	}
	if dialect == schema.PostgreSQL {
		if _, err := fmt.Fprintf(s.stdout, "-- For the schema %s, %s.\n", tables.Names.Schema, why); err != nil {
			return err
		}
		if unasked {
			if _, err := fmt.Fprintln(s.stdout, "-- The database did not answer, so a search_path of the user, of the database, or in options of the URL was ignored."); err != nil {
				return err
			}
		}
	}
	return schema.WriteSQL(s.stdout, tables, c.Direction)
}

// currentSchema returns the schema in which d creates tables, "" if no schema of the search_path exists, and whether d answered.
func currentSchema(d database) (name string, answered bool) {
	ctx, stop := interruptible(context.Background(), nil)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	db, err := d.open(ctx, false)
	if err != nil {
		return "", false
	}
	defer db.Close()
	var current sql.NullString
	if err := db.QueryRowContext(ctx, `SELECT current_schema()`).Scan(&current); err != nil {
		return "", false
	}
	return current.String, true
}

package main

import "github.com/bento-outbox/watermill-outbox/schema"

type migratePrint struct {
	databaseFlags
	partitionFlags
	Direction string `default:"up" placeholder:"up|down" help:"up (the default) or down."`
	Dialect   string `placeholder:"postgres|sqlite" help:"postgres or sqlite; by default what the database URL says."`
}

var dialects = map[string]schema.Dialect{
	"postgres": schema.PostgreSQL, "postgresql": schema.PostgreSQL, "sqlite": schema.SQLite, "sqlite3": schema.SQLite,
}

// Run prints the SQL of all migrations. It connects to nothing.
func (c *migratePrint) Run(s *session) error {
	dialect, known := dialects[c.Dialect]
	switch {
	case c.Dialect != "" && !known:
		s.faults.add("--dialect: %q is neither postgres nor sqlite", c.Dialect)
	case c.Dialect == "" && c.DatabaseURL.text == "":
		s.faults.add("no dialect: set --dialect to postgres or sqlite, or name a database with --database-url or DATABASE_URL")
	case c.Dialect == "":
		from, err := parseSource(c.DatabaseURL.text)
		if err != nil {
			s.faults.add("--database-url: %w", err)
		}
		dialect = from.dialect
	}
	if c.Direction != "up" && c.Direction != "down" {
		s.faults.add("--direction: %q is neither up nor down", c.Direction)
	}
	tables := c.tableFlags.check(dialect, &s.faults)
	tables.PartitionSize = c.partitionFlags.check(dialect, &s.faults)
	if err := s.faults.err(); err != nil {
		return err
	}
	return schema.WriteSQL(s.stdout, tables, c.Direction)
}

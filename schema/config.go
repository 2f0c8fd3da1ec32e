package schema

import "database/sql"

// Config says which tables, in which kind of database.
type Config struct {
	// Dialect is [PostgreSQL] or [SQLite]. Where a *sql.DB is at hand it defaults to what [DialectOf] finds, else to PostgreSQL.
	Dialect Dialect
	// Names of the tables.
	Names Names
}

func (c Config) validate() error { return c.Names.validate() }

func (c Config) withDialect(db *sql.DB) (Config, error) {
	if c.Dialect == nil {
		d, err := DialectOf(db)
		if err != nil {
			return c, err
		}
		c.Dialect = d
	}
	if c.Dialect == SQLite {
		c.Names.Schema = ""
	}
	return c, c.validate()
}

func (c Config) queries() queries { return c.Dialect.queries(c.Names.tables()) }

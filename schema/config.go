// Package schema is the outbox in the database: its tables and their names, the migrations that create and change them, and the dialects of SQL
// that they are written in. [Migrator] runs the migrations, and [WriteSQL] prints them for people who have no right to.
package schema

import (
	"database/sql"
	"errors"
	"fmt"

	"github.com/bento-outbox/watermill-outbox/internal/dialect"
)

// Config says which tables, in which kind of database.
type Config struct {
	// Dialect is [PostgreSQL] or [SQLite]. Where a *sql.DB is at hand it defaults to what [DialectOf] finds, else to PostgreSQL.
	Dialect Dialect
	// Names of the tables.
	Names Names
	// PartitionSize, where it is not 0, is how many numbers each partition of the events has. It counts when the tables are created, and on PostgreSQL
	// only; tables that are there stay as they are. See docs/operations.md.
	PartitionSize int64
}

// Validate reports what is wrong with c, whose dialect must be set.
func (c Config) Validate() error {
	if err := c.Dialect.validate(); err != nil {
		return err
	}
	if c.PartitionSize < 0 {
		return fmt.Errorf("PartitionSize is %d, must not be negative", c.PartitionSize)
	}
	if c.PartitionSize > 0 && c.Dialect == SQLite {
		return errors.New("PartitionSize is set, and SQLite has no partitions")
	}
	return c.Names.Validate()
}

func (c Config) withDialect(db *sql.DB) (Config, error) {
	if c.Dialect == "" {
		d, err := DialectOf(db)
		if err != nil {
			return c, err
		}
		c.Dialect = d
	}
	if c.Dialect == SQLite {
		c.Names.Schema = ""
	}
	return c, c.Validate()
}

func (c Config) tables() dialect.Tables { return dialect.TablesOf(c.Names.Schema, c.Names.Prefix) }

func (c Config) statements() statements {
	if c.Dialect == SQLite {
		return sqliteStatements(c.tables())
	}
	return postgresStatements(c.tables())
}

// Package schema describes the outbox in the database: its tables and their names, their migrations, and the dialects of SQL. [Migrator] runs the
// migrations; [WriteSQL] prints them for a role that may.
package schema

import (
	"database/sql"
	"errors"
	"fmt"

	"github.com/bento-outbox/watermill-outbox/internal/dialect"
)

// Config selects the tables of one outbox.
type Config struct {
	// Dialect is [PostgreSQL] or [SQLite]. Defaults to the dialect of the *sql.DB, see [DialectOf], and to PostgreSQL without one.
	Dialect Dialect
	// Names of the tables.
	Names Names
	// PartitionSize is the number of sequence numbers per partition of the events; 0 disables partitioning. It takes effect when the tables are
	// created, on PostgreSQL only. See docs/operations.md.
	PartitionSize int64
}

// Validate returns an error if c has no dialect or is inconsistent.
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

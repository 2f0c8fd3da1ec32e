package schema

import (
	"database/sql"
	"errors"
	"fmt"
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

func (c Config) validate() error {
	if c.PartitionSize < 0 {
		return fmt.Errorf("PartitionSize is %d, must not be negative", c.PartitionSize)
	}
	if c.PartitionSize > 0 && c.Dialect == SQLite {
		return errors.New("PartitionSize is set, and SQLite has no partitions")
	}
	return c.Names.validate()
}

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

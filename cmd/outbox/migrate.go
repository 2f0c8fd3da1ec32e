package main

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/bento-outbox/watermill-outbox/schema"
)

// migrateCommand groups the commands for the tables.
type migrateCommand struct {
	Up     migrateUp     `cmd:"" help:"Create the tables, or upgrade them to this version."`
	Down   migrateDown   `cmd:"" help:"Revert the newest migration. This drops tables and their data."`
	Status migrateStatus `cmd:"" help:"Show which migrations are applied."`
	Print  migratePrint  `cmd:"" help:"Print the SQL, for whoever may create tables. Needs no database."`
}

func migrationName(m schema.Migration) string { return fmt.Sprintf("%03d_%s", m.Version, m.Name) }

type migrateUp struct {
	databaseFlags
	partitionFlags
}

// partitionFlags are the flags of commands that create tables.
type partitionFlags struct {
	PartitionSize string `default:"0" placeholder:"N" help:"Partition the events table, N events per partition, so that clean-up drops whole partitions. PostgreSQL only; cannot be applied to an existing table."`
}

func (p partitionFlags) check(dialect schema.Dialect, f *faults) int64 {
	n := f.Number("--partition-size", p.PartitionSize, 0, 1_000_000_000_000)
	if n > 0 && dialect == schema.SQLite {
		f.Add("--partition-size: SQLite has no partitions; leave it out")
	} else if n > 0 && n < 1000 {
		f.Add("--partition-size: %d is too small; use the number of events published in a day", n)
	}
	return int64(n)
}

// Run applies the migrations that are not applied yet.
func (c *migrateUp) Run(s *session) error {
	target := s.database()
	target.tables.PartitionSize = c.check(target.dialect, &s.faults)
	return s.withDatabase(target, true, func(ctx context.Context, db *sql.DB) error {
		m, err := schema.NewMigrator(db, target.tables)
		if err != nil {
			return err
		}
		applied, err := m.Up(ctx)
		for _, one := range applied {
			fmt.Fprintln(s.stdout, "applied", migrationName(one))
		}
		if err != nil {
			return err
		}
		if len(applied) == 0 && target.tables.PartitionSize > 0 {
			return failf("the tables are up to date; only new tables can be partitioned")
		}
		if len(applied) == 0 {
			fmt.Fprintln(s.stdout, "nothing to do: the tables are up to date")
		}
		return nil
	})
}

package main

import (
	"context"
	"fmt"

	"github.com/bento-outbox/watermill-outbox/schema"
)

// migrateCommand is the group of commands that are about the tables.
type migrateCommand struct {
	Up     migrateUp     `cmd:"" help:"Create the tables, or bring them up to this version."`
	Down   migrateDown   `cmd:"" help:"Take the newest migration back. Drops tables with all they hold."`
	Status migrateStatus `cmd:"" help:"Show which migrations are applied."`
	Print  migratePrint  `cmd:"" help:"Print the SQL, to be run by somebody who may create tables. Needs no database."`
}

func migrationName(m schema.Migration) string { return fmt.Sprintf("%03d_%s", m.Version, m.Name) }

type migrateUp struct{ databaseFlags }

// Run applies what is not applied yet.
func (c *migrateUp) Run(s *session) error {
	target := c.check(&s.faults)
	if err := s.faults.err(); err != nil {
		return err
	}
	ctx, stop := interruptible(context.Background())
	defer stop()
	db, err := target.openOrCreate(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	m, err := target.migrator(db)
	if err != nil {
		return err
	}
	applied, err := m.Up(ctx)
	for _, one := range applied {
		fmt.Fprintln(s.stdout, "applied", migrationName(one))
	}
	if err != nil {
		return target.explain(err)
	}
	if len(applied) == 0 {
		fmt.Fprintln(s.stdout, "nothing to do: the tables are up to date")
	}
	return nil
}

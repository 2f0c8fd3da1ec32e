package main

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/bento-outbox/watermill-outbox/schema"
)

type migrateDown struct {
	databaseFlags
	confirmation
}

// Run reverts the newest applied migration, after confirmation.
func (c *migrateDown) Run(s *session) error {
	target := s.database()
	c.required(s, "migrate down drops tables with their data: set --yes")
	return s.withDatabase(target, false, func(ctx context.Context, db *sql.DB) error {
		m, err := schema.NewMigrator(db, target.tables)
		if err != nil {
			return err
		}
		list, err := m.Status(ctx)
		if err != nil {
			return err
		}
		newest := ""
		for _, one := range list {
			if !one.AppliedAt.IsZero() {
				newest = migrationName(one)
			}
		}
		if newest == "" {
			fmt.Fprintln(s.stdout, "nothing to do: no migration is applied")
			return nil
		}
		if err := c.confirm(s, "Revert %s in %s? This drops its tables with their data.", newest, target.name); err != nil {
			return err
		}
		taken, err := m.Down(ctx)
		if err != nil {
			return err
		}
		if taken != nil {
			fmt.Fprintln(s.stdout, "reverted", migrationName(*taken))
		}
		return nil
	})
}

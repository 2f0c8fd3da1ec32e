package main

import (
	"context"
	"database/sql"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/bento-outbox/watermill-outbox/schema"
)

type migrateStatus struct{ databaseFlags }

// Run lists all migrations and when they were applied.
func (c *migrateStatus) Run(s *session) error {
	target := s.database()
	return s.withDatabase(target, false, func(ctx context.Context, db *sql.DB) error {
		m, err := schema.NewMigrator(db, target.tables)
		if err != nil {
			return err
		}
		list, err := m.Status(ctx)
		if err != nil {
			return err
		}
		t := tabwriter.NewWriter(s.stdout, 0, 0, 3, ' ', 0)
		fmt.Fprintln(t, "migration\tapplied")
		for _, one := range list {
			applied := "no"
			if !one.AppliedAt.IsZero() {
				applied = one.AppliedAt.UTC().Format(time.RFC3339)
			}
			fmt.Fprintf(t, "%s\t%s\n", migrationName(one), applied)
		}
		return t.Flush()
	})
}

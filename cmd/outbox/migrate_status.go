package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"
)

type migrateStatus struct{ databaseFlags }

// Run lists all migrations and when they were applied.
func (c *migrateStatus) Run(s *session) error {
	target := c.check(&s.faults)
	if err := s.faults.err(); err != nil {
		return err
	}
	ctx, stop := interruptible(context.Background())
	defer stop()
	db, err := target.open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	m, err := target.migrator(db)
	if err != nil {
		return err
	}
	list, err := m.Status(ctx)
	if err != nil {
		return target.explain(err)
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
}

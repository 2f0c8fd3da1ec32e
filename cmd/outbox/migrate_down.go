package main

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

type migrateDown struct {
	databaseFlags
	Yes bool `short:"y" help:"Do not ask for confirmation."`
}

// Run takes the newest applied migration back, after somebody said yes.
func (c *migrateDown) Run(s *session) error {
	target := s.database()
	ask := !c.Yes && s.isTerminal(s.stdin)
	if !c.Yes && !ask {
		s.faults.Add("migrate down drops tables with all they hold: say --yes")
	}
	return s.withDatabase(target.open, func(ctx context.Context, db *sql.DB) error {
		m, err := target.migrator(db)
		if err != nil {
			return err
		}
		list, err := m.Status(ctx)
		if err != nil {
			return target.explain(err)
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
		if ask {
			fmt.Fprintf(s.stderr, "Take %s back in %s, and drop its tables with all they hold? Type yes: ", newest, target.name)
			answer, _ := bufio.NewReader(s.stdin).ReadString('\n')
			if strings.TrimSpace(answer) != "yes" {
				return errors.New("nothing was changed, for the answer was not yes")
			}
		}
		taken, err := m.Down(ctx)
		if err != nil {
			return target.explain(err)
		}
		if taken != nil {
			fmt.Fprintln(s.stdout, "took back", migrationName(*taken))
		}
		return nil
	})
}

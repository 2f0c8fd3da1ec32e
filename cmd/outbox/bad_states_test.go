package main

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What cannot work is said in one line, and nothing is begun.
func TestBadStates(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	for name, test := range map[string]struct {
		sql    string // that makes the state
		args   []string
		status int
		want   string
	}{
		"a dropped table, run":      {`DROP TABLE outbox_controls`, []string{"run", "--once", "--to", "console://stderr", "--log-level", "error"}, statusFailed, `"outbox_controls" is missing`},
		"a dropped table, stats":    {`DROP TABLE outbox_controls`, []string{"stats"}, statusFailed, `"outbox_controls" is missing`},
		"a dropped table, diagnose": {`DROP TABLE outbox_cleanup`, []string{"diagnose"}, statusFailed, `"outbox_cleanup" is missing`},
		"a dropped table, cleanup":  {`DROP TABLE outbox_cleanup`, []string{"cleanup"}, statusFailed, `"outbox_cleanup" is missing`},
		"a dropped table, pause":    {`DROP TABLE outbox_controls`, []string{"pause", "--tenant", "acme"}, statusFailed, `"outbox_controls" is missing`},
		"replay nothing":            {``, []string{"dead", "replay", "--seq", "99"}, statusFailed, "there is no event 99; nothing was changed"},
		"pause nothing":             {``, []string{"pause", "--destination", ""}, statusUsage, "--destination: is empty"},
		"routes, a directory":       {``, []string{"run", "--once", "--to", "console://stderr", "--routes", directory}, statusUsage, "--routes: " + directory + ": is a directory"},
		"database, a directory":     {``, []string{"stats", "--database-url", "sqlite:" + directory}, statusFailed, "it must be a file"},
		"migrate, a directory":      {``, []string{"migrate", "up", "--database-url", "sqlite:" + directory}, statusFailed, "it must be a file"},
		"bench, another database":   {``, []string{"bench", "--database-url", "mysql://root@127.0.0.1/x"}, statusUsage, `unknown scheme "mysql"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, url string, open func() *sql.DB) {
				outbox("migrate", "up", "--database-url", url).require(t, statusDone)
				_, err := open().ExecContext(t.Context(), test.sql)
				require.NoError(t, err)
				args := test.args
				if !strings.Contains(strings.Join(args, " "), "--database-url") {
					args = append(args[:len(args):len(args)], "--database-url", url)
				}
				r := outbox(args...).require(t, test.status)
				require.Contains(t, r.stderr, test.want)
				require.Equal(t, 1, strings.Count(r.stderr, "\n"), r.stderr)
				require.Empty(t, r.stdout)
			})
		})
	}
}

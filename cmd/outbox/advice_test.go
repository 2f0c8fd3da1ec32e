package main

import (
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

var advised = regexp.MustCompile(`outbox (?:dead|pause|resume|stats|cleanup) .*?(?:\. |; | shows? | says | removes | once |$)`)

// A command that diagnose advises runs as it stands, with the number of an event for SEQ, by a shell and with no forwarder to ask.
func TestAdviceCanBeRun(t *testing.T) {
	t.Parallel()
	file := binary(t)
	path := filepath.Join(t.TempDir(), "outbox.db")
	url := "sqlite:" + path
	outbox("migrate", "up", "--database-url", url).require(t, statusDone)
	db, err := sql.Open("sqlite", testdb.SQLiteDSN(path))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	for _, query := range []string{
		`INSERT INTO outbox (topic, payload, aggregate_id) VALUES ('t', '{}', '1'), ('t', '{}', '1'), ('t', '{}', '2')`,
		`DELETE FROM outbox_pending`,
		`INSERT INTO outbox_deliveries (seq, target, slot, key_hash, destination, state, attempts, error) SELECT seq, 'a', slot, 7, 'it''s $(a) b', CASE seq WHEN 1 THEN 'dead' ELSE 'held' END, 1, 'no' FROM outbox WHERE seq < 3`,
		`INSERT INTO outbox_deliveries (seq, target, slot, destination, state, attempts, error) SELECT seq, 'a', slot, 'it''s $(a) b', 'waiting', 1, 'no' FROM outbox WHERE seq = 3`,
		`INSERT INTO outbox_controls (kind, name, reason) VALUES ('tenant', 'it''s "$(x)"', '')`,
	} {
		_, err := db.ExecContext(t.Context(), query)
		require.NoError(t, err, query)
	}
	var commands []string
	for _, f := range decode[diagnosis](t, outbox("diagnose", "--json", "--over", "0s", "--database-url", url).require(t, statusFailed)).Findings {
		for _, command := range advised.FindAllString(f.Action, -1) {
			for _, end := range []string{". ", "; ", " shows ", " show ", " says ", " removes ", " once "} {
				command = strings.TrimSuffix(command, end)
			}
			commands = append(commands, strings.ReplaceAll(command, "SEQ", "1"))
		}
	}
	all := strings.Join(commands, "\n")
	for _, want := range []string{"outbox dead discard --seq 1 --yes", "outbox dead replay --all", "outbox resume --tenant ", "outbox pause --destination ", "outbox dead list"} {
		require.Contains(t, all, want)
	}
	for _, command := range commands {
		cmd := exec.CommandContext(t.Context(), "bash", "-c", command)
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(file)+":"+os.Getenv("PATH"), "DATABASE_URL="+url)
		out, _ := cmd.CombinedOutput()
		require.NotEqual(t, statusUsage, cmd.ProcessState.ExitCode(), "%s: %s", command, out)
		require.NotEqual(t, 127, cmd.ProcessState.ExitCode(), "%s: %s", command, out)
	}
}

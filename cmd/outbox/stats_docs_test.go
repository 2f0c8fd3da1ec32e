package main

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every stats command of the page prints what the page says.
func TestMonitoringPage(t *testing.T) {
	t.Parallel()
	var commands []string
	for _, block := range transcripts(t, "../../docs/monitoring.md") {
		for _, command := range block {
			if strings.HasPrefix(command, "$ outbox stats") {
				commands = append(commands, command)
			}
		}
	}
	require.Len(t, commands, 3)
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		outbox("migrate", "up", "--database-url", url).require(t, statusDone)
		for _, text := range []string{
			`INSERT INTO outbox (tenant_id, topic, payload) VALUES ('acme', 'orders.placed', '1'), ('acme', 'orders.placed', '2'),
				('acme', 'orders.placed', '3'), ('acme', 'orders.paid', '4'), ('zoo', 'orders.placed', '5')`,
			`DELETE FROM outbox_pending WHERE seq <= 2`,
			`INSERT INTO outbox_deliveries (seq, target, slot, destination, state) SELECT seq, 'x', slot, 'shop://orders', 'dead' FROM outbox WHERE seq = 1`,
			`INSERT INTO outbox_deliveries (seq, target, slot, destination, state) SELECT seq, 'x', slot, 'kafka://index', 'held' FROM outbox WHERE seq = 2`,
		} {
			_, err := open().ExecContext(t.Context(), text)
			require.NoError(t, err)
		}
		for _, command := range commands {
			line, want, _ := strings.Cut(strings.TrimPrefix(command, "$ outbox "), "\n")
			r := outbox(append(strings.Fields(line), "--database-url", url)...).require(t, statusDone)
			require.Equal(t, steadied(want), steadied(r.stdout), line)
		}
	})
}

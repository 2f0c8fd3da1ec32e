package main

import (
	"bytes"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/admin"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

func TestCleanup(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		b := bury(t, url, open)
		b.insert("e6", "acme", "t", `{"id":6}`, `{"targets":[{"destination":"shop://index"}]}`, "6")
		b.shop.run(t, url)
		all := []string{"DEAD", "DEAD", "DEAD", "DEAD", "NEW", "SENT"}
		require.Equal(t, all, b.statuses())

		require.Equal(t, "removed 0 events: 0 SENT, 0 SKIPPED, 0 DEAD\n", b.outbox("cleanup").require(t, statusDone).stdout)
		require.Equal(t, "would remove 1 event: 1 SENT, 0 SKIPPED, 0 DEAD\n", b.outbox("cleanup", "--older-than", "0s", "--dry-run").require(t, statusDone).stdout)
		require.Equal(t, all, b.statuses())
		r := decode[cleanedUp](t, b.outbox("cleanup", "--older-than", "0d", "--tenant", "zoo", "--json").require(t, statusDone))
		require.Zero(t, r.Removed.Total())
		r = decode[cleanedUp](t, b.outbox("cleanup", "--older-than", "0s", "--json", "--batch", "1").require(t, statusDone))
		require.Equal(t, admin.Removed{Sent: 1}, r.Removed)
		require.Equal(t, all[:5], b.statuses(), "dead ones stay")

		require.Equal(t, "removed 2 events: 0 SENT, 0 SKIPPED, 2 DEAD\n",
			b.outbox("cleanup", "--status", "dead=0s", "--tenant", "acme").require(t, statusDone).stdout)
		require.Equal(t, "removed 1 event: 0 SENT, 0 SKIPPED, 1 DEAD\nkept 1 dead event, because later events of its key wait for it; replay or discard it\n",
			b.outbox("cleanup", "--status", "SENT", "--status", "DEAD=0s").require(t, statusDone).stdout)
		require.Equal(t, []string{"DEAD", "NEW"}, b.statuses())

		_, err := b.db.ExecContext(t.Context(), `UPDATE outbox_cleanup SET owner = 'host-7', expires_at = '2999-01-01T00:00:00.000000Z'`)
		require.NoError(t, err)
		require.Contains(t, b.outbox("cleanup").require(t, statusFailed).stderr, "another clean-up is running: host-7, since 20")
	})
}

func TestCleanupDropsPartitions(t *testing.T) {
	t.Parallel()
	url := testdb.PostgresDSN(t)
	outbox("migrate", "up", "--partition-size", "1000", "--database-url", url).require(t, statusDone)
	require.Contains(t, outbox("migrate", "up", "--partition-size", "1000", "--database-url", url).require(t, statusFailed).stderr, "only new tables can be partitioned")
	db := testdb.Open(t, url)
	for _, query := range []string{
		`INSERT INTO outbox (topic, payload) SELECT 't', '' FROM generate_series(1, 1500)`, `DELETE FROM outbox_pending WHERE seq <> 7`, `ANALYZE`,
	} {
		_, err := db.ExecContext(t.Context(), query)
		require.NoError(t, err)
	}
	const rest = "partition outbox_p1 with about 999 events; kept 1 event of it\n"
	run := func(args ...string) result {
		return outbox(append([]string{"cleanup", "--older-than", "0s", "--database-url", url}, args...)...).require(t, statusDone)
	}
	require.Equal(t, "would drop "+rest+"would remove 0 events: 0 SENT, 0 SKIPPED, 0 DEAD\n", run("--dry-run").stdout)
	require.Equal(t, []droppedPart{{"outbox_p1", 999, 1}}, decode[cleanedUp](t, run("--dry-run", "--json")).Partitions)
	require.Equal(t, "dropped "+rest+"removed 0 events: 0 SENT, 0 SKIPPED, 0 DEAD\n", run().stdout)
	var left int
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM outbox`).Scan(&left))
	require.Equal(t, 501, left)
	outbox("indexes", "--database-url", url).require(t, statusDone)

	for want, args := range map[string][]string{
		"SQLite has no partitions": {"--database-url", "sqlite:" + filepath.Join(t.TempDir(), "outbox.db"), "--partition-size", "1000"},
		"is too small":             {"--database-url", url, "--partition-size", "10"},
	} {
		require.Contains(t, outbox(append([]string{"migrate", "up"}, args...)...).require(t, statusUsage).stderr, want)
	}
	require.Contains(t, outbox("migrate", "print", "--dialect", "postgres", "--partition-size", "1000").require(t, statusDone).stdout, "PARTITION BY RANGE (seq)")
}

func TestCleanupWrongUse(t *testing.T) {
	t.Parallel()
	database := "sqlite:" + filepath.Join(t.TempDir(), "outbox.db")
	r := outbox("cleanup", "--database-url", database, "--older-than", "a week", "--status", "NEW", "--status", "SENT=1x", "--status", "SENT=1d",
		"--tenant", "", "--batch", "0", "--pause=-1s").require(t, statusUsage)
	for _, want := range []string{
		`--older-than: "a week" is not a duration`, `--status: "NEW" is none of SENT, SKIPPED, DEAD; unfinished events are never deleted`, `--status SENT: "1x" is not a duration`,
		`--status: SENT is given twice`, `--tenant: is empty`, `--batch: "0" is not a whole number`, `--pause: "-1s" is not a duration`,
	} {
		require.Contains(t, r.stderr, want)
	}
}

func TestProgressIsShownOnTerminalsOnly(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	none := newProgress(&b)
	none.show(0.5, "x")
	none.clear()
	require.Empty(t, b.String())
	p := &progress{w: &b}
	p.show(0.5, "7 events")
	p.show(0.6, "too soon")
	p.clear()
	require.Equal(t, "\r\x1b[K[###############               ]  50 %  7 events\r\x1b[K", b.String())
}

package main

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/monitor"
	"github.com/bento-outbox/watermill-outbox/schema"
)

func (d diagnosis) find(text string) monitor.Finding {
	for _, f := range d.Findings {
		if strings.Contains(f.Message, text) {
			return f
		}
	}
	return monitor.Finding{}
}

func TestDiagnose(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		b := bury(t, url, open)
		exec := func(query string) {
			t.Helper()
			_, err := b.db.ExecContext(t.Context(), query)
			require.NoError(t, err, query)
		}
		look := func(status int, args ...string) diagnosis {
			t.Helper()
			return decode[diagnosis](t, b.outbox(append([]string{"diagnose", "--json", "--over", "60ms"}, args...)...).require(t, status))
		}
		st, err := store.Open(t.Context(), b.db, schema.Config{})
		require.NoError(t, err)

		d := look(statusFailed)
		require.False(t, d.Healthy)
		require.Zero(t, d.Span)
		require.Equal(t, monitor.Totals{Dead: 4, Held: 1}, d.Totals)
		require.Nil(t, d.Rates, "nothing is pending")
		require.Equal(t, cause{3, store.Dead, "shop://orders", "post message e# of topic orders to SERVER: server answered 422 Unprocessable Entity", false}, func() cause {
			c := d.Causes[0]
			c.Error = server.ReplaceAllString(c.Error, "SERVER")
			return c
		}(), "one cause, whatever the numbers")
		require.Equal(t, store.Unfinished{}, d.Old.Unfinished)
		require.Equal(t, monitor.Warning, d.find("4 deliveries gave up").Level)
		require.Equal(t, monitor.Critical, look(statusFailed, "--alert-dead-critical", "4").find("4 deliveries gave up").Level)
		require.Empty(t, look(statusFailed, "--alert-dead-warning", "0", "--alert-dead-critical", "0").find("deliveries gave up"))
		require.Equal(t, monitor.Critical, d.find("No forwarder is alive").Level)
		require.Contains(t, d.find("4 deliveries gave up").Action, "outbox dead replay --all")
		require.Equal(t, "outbox dead list --destination shop://orders", d.find("died of").Action)
		b.outbox(strings.Fields(strings.TrimPrefix(d.find("died of").Action, "outbox "))...).require(t, statusDone)
		require.Len(t, look(statusFailed, "--top", "0").Causes, 0)

		// Old events, pending and held.
		b.insert("e6", "zoo", "t", "{}", `{"targets":[{"destination":"shop://index"}]}`, "6")
		require.Equal(t, store.Unfinished{Pending: 1, Deliveries: 1}, look(statusFailed, "--older-than", "0s").Old.Unfinished)
		exec(`UPDATE outbox SET created_at = '2020-01-01T00:00:00.000000Z' WHERE seq < 6`)
		d = look(statusFailed)
		require.Equal(t, store.Unfinished{Deliveries: 1}, d.Old.Unfinished)
		require.NotNil(t, d.Rates)
		require.Contains(t, d.find("no clean-up has finished yet").Action, "outbox cleanup")
		b.outbox("cleanup").require(t, statusDone)
		require.Empty(t, look(statusFailed).find("clean-up"))

		// Somebody died, something is out of reach, something is paused, an index is gone.
		require.NoError(t, st.Join(t.Context(), "g", "host-7", store.Filter{}, time.Minute))
		_, err = st.Acquire(t.Context(), "g", "host-7", 64)
		require.NoError(t, err)
		require.Empty(t, look(statusFailed).find("No forwarder"))
		exec(`UPDATE outbox_forwarders SET expires_at = '2020-01-01T00:00:00.000000Z'`)
		require.NoError(t, st.Pause(t.Context(), store.Unreachable, "shop://orders", "connection refused"))
		b.outbox("pause", "--tenant", "acme").require(t, statusDone)
		exec(`DROP INDEX outbox_deliveries_held`)
		d = look(statusFailed)
		require.Equal(t, "outbox run --group g", d.find("The forwarder host-7 has died").Action)
		require.Equal(t, monitor.Warning, d.find("shop://orders has accepted nothing").Level)
		require.Contains(t, d.find("enant acme ").Action, "outbox resume --tenant acme")
		require.Equal(t, monitor.Warning, d.find("The index outbox_deliveries_held of outbox_deliveries is missing").Level)
		exec(d.find("The index").Action)
		seen := map[monitor.Finding]bool{}
		for i, f := range d.Findings {
			require.False(t, seen[f], "%v", f)
			seen[f] = true
			require.NotEmpty(t, f.Action)
			require.False(t, i > 0 && d.Findings[i-1].Level == monitor.Info && f.Level != monitor.Info, "the worst first")
		}

		// For people.
		r := b.outbox("diagnose", "--over", "0s").require(t, statusFailed)
		require.Regexp(t, `(?m)^dead +4 +deliveries that gave up$`, r.stdout)
		require.Regexp(t, `(?m)^3 +dead +shop://orders +post message e#`, r.stdout)
		require.Contains(t, r.stdout, "\ncritical: No forwarder is alive")
		require.Regexp(t, `^outbox: not healthy: \d critical, \d warnings\n$`, r.stderr)

		// And when all is done.
		require.NoError(t, st.Leave(t.Context(), "host-7"))
		require.NoError(t, st.Resume(t.Context(), store.Unreachable, "shop://orders"))
		b.outbox("resume", "--tenant", "acme").require(t, statusDone)
		b.outbox("dead", "discard", "--all", "--yes").require(t, statusDone)
		b.shop.heal()
		b.shop.run(t, url)
		require.NoError(t, st.Join(t.Context(), "g", "host-8", store.Filter{}, time.Minute))
		_, err = st.Acquire(t.Context(), "g", "host-8", 64)
		require.NoError(t, err)
		d = look(statusDone)
		require.True(t, d.Healthy)
		require.Empty(t, d.Findings)
		require.True(t, strings.HasSuffix(b.outbox("diagnose").require(t, statusDone).stdout, "\nall is well\n"))
	})
}

func TestDiagnosePartitions(t *testing.T) {
	t.Parallel()
	url := testdb.PostgresDSN(t)
	outbox("migrate", "up", "--partition-size", "1000", "--database-url", url).require(t, statusDone)
	_, err := testdb.Open(t, url).ExecContext(t.Context(), `INSERT INTO outbox (topic, payload) SELECT 't', '' FROM generate_series(1, 3001)`)
	require.NoError(t, err)
	look := func() monitor.Finding {
		return decode[diagnosis](t, outbox("diagnose", "--json", "--over", "0s", "--database-url", url).require(t, statusFailed)).find("default partition since number 3001")
	}
	require.Contains(t, look().Action, "outbox cleanup adds partitions")
	outbox("cleanup", "--database-url", url).require(t, statusDone)
	require.Empty(t, look())
}

func TestWithoutDetails(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"dial tcp 10.0.0.7:9092: connect: connection refused":                  "dial tcp 10.0.0.7:9092: connect: connection refused",
		"read tcp 10.0.0.1:53211->10.0.0.7:9092: reset after 17 bytes":         "read tcp 10.0.0.7:9092: reset after # bytes",
		"order 7 of 0b8ff7a4-1c55-4b1c-9d3e-0123456789ab\nserver answered 503": "order # of #; server answered 503",
		"no digest 900150983cd24fb0d6963f7d28e17f72":                           "no digest #",
	} {
		require.Equal(t, want, withoutDetails(text))
	}
}

func TestDiagnoseWrongUse(t *testing.T) {
	t.Parallel()
	r := outbox("diagnose", "--database-url", "sqlite:"+filepath.Join(t.TempDir(), "outbox.db"), "--older-than", "old", "--top", "-", "--over", "x").require(t, statusUsage)
	for _, want := range []string{`--older-than: "old" is not a duration`, `--top: "-" is not a whole number`, `--over: "x" is not a duration`} {
		require.Contains(t, r.stderr, want)
	}
}

// A slot that nobody reads is somebody's business when it keeps rows, or 1 GiB of the log.
func TestDiagnoseUnreadSlots(t *testing.T) {
	t.Parallel()
	for level, slots := range map[monitor.Level][]store.ReplicationSlot{
		monitor.Info:    {{Name: "s"}, {Name: "s", Bytes: 1<<30 - 1}},
		monitor.Warning: {{Name: "s", Bytes: 1 << 30}, {Name: "s", Holds: true}},
	} {
		for _, s := range slots {
			e := examiner{diagnosis: &diagnosis{}}
			e.unread(s)
			require.Equal(t, level, e.find("the replication slot s").Level, "%+v", s)
			require.Equal(t, s.Holds, strings.Contains(e.Findings[0].Message, "vacuum"))
		}
	}
}

package main

import (
	"database/sql"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ kind, name string }{{"destination", "shop://index"}, {"tenant", "acme"}, {"key", "order:7"}} {
		t.Run(test.kind, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, url string, open func() *sql.DB) {
				outbox("migrate", "up", "--database-url", url).require(t, statusDone)
				b := burial{t: t, shop: newShop(t), url: url, db: open()}
				paused := func() []heldStats {
					var s stats
					require.NoError(t, json.Unmarshal([]byte(b.outbox("stats", "--json").require(t, statusDone).stdout), &s))
					for i := range s.Paused {
						require.False(t, s.Paused[i].Since.IsZero())
					}
					return s.Paused
				}
				require.Empty(t, paused())
				require.Equal(t, "paused "+test.kind+" "+test.name+"\n", b.outbox("pause", "--"+test.kind, test.name, "--reason", "maintenance").require(t, statusDone).stdout)
				require.Contains(t, b.outbox("pause", "--"+test.kind, test.name).require(t, statusDone).stdout, "nothing to do: "+test.kind+" "+test.name+" is paused since 20")
				b.outbox("pause", "--"+test.kind, "another").require(t, statusDone)
				b.outbox("resume", "--"+test.kind, "another").require(t, statusDone)
				list := paused()
				require.Len(t, list, 1)
				require.Equal(t, []string{test.kind, test.name, "maintenance"}, []string{string(list[0].Kind), list[0].Name, list[0].Reason}, "the reason stays")
				require.Regexp(t, `(?m)^paused `+test.kind+` +`+test.name+` +20\S+Z +maintenance$`, b.outbox("stats").require(t, statusDone).stdout)
				b.outbox("pause", "--"+test.kind, test.name, "--reason", "still").require(t, statusDone)
				require.Equal(t, "still", paused()[0].Reason)

				b.insert("e", "acme", "t", `{"id":1}`, `{"targets":[{"destination":"shop://index"}]}`, "7")
				b.insert("e", "zoo", "t", `{"id":2}`, `{"targets":[{"destination":"shop://other"}]}`, "8")
				b.shop.run(t, url)
				require.Equal(t, []string{`/other {"id":2}`}, b.shop.take(), "only what is paused is held")
				require.Equal(t, []string{"NEW", "SENT"}, b.statuses())

				require.Equal(t, "resumed "+test.kind+" "+test.name+"\n", b.outbox("resume", "--"+test.kind, test.name).require(t, statusDone).stdout)
				require.Equal(t, "nothing to do: "+test.kind+" "+test.name+" is not paused\n", b.outbox("resume", "--"+test.kind, test.name).require(t, statusDone).stdout)
				b.shop.run(t, url)
				require.Equal(t, []string{`/index {"id":1}`}, b.shop.take())
				require.Empty(t, paused())
			})
		})
	}
}

func TestStatsShowUnreachableDestinations(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		outbox("migrate", "up", "--database-url", url).require(t, statusDone)
		_, err := open().ExecContext(t.Context(), `INSERT INTO outbox_controls (kind, name, reason) VALUES ('unreachable', 'kafka://orders', 'connection refused')`)
		require.NoError(t, err)
		r := outbox("stats", "--database-url", url).require(t, statusDone)
		require.Regexp(t, `(?m)^unreachable destination +kafka://orders +20\S+Z +connection refused$`, r.stdout)
		s := decode[stats](t, outbox("stats", "--json", "--database-url", url).require(t, statusDone))
		require.Empty(t, s.Paused)
		require.Len(t, s.Unreachable, 1)
		require.False(t, s.Unreachable[0].Since.IsZero())
		require.Equal(t, heldStats{Destination: "kafka://orders", Since: s.Unreachable[0].Since, Reason: "connection refused"}, s.Unreachable[0])
		// It is what a forwarder found, no pause that could be resumed.
		require.Contains(t, outbox("resume", "--destination", "kafka://orders", "--database-url", url).require(t, statusDone).stdout, "is not paused")
	})
}

func TestPauseWrongUse(t *testing.T) {
	t.Parallel()
	database := "sqlite:" + filepath.Join(t.TempDir(), "outbox.db")
	for want, args := range map[string][]string{
		"unknown flag --topic":       {"pause", "--topic", "t"},
		"unknown flag --unreachable": {"resume", "--unreachable", "d"},
		"unexpected argument tenant": {"pause", "tenant", "acme"},
		"--tenant: is empty":         {"pause", "--tenant", ""},
		"--key: is empty":            {"resume", "--key", ""},
		"--key: it has 1025 bytes":   {"pause", "--key", strings.Repeat("x", 1025)},
		"missing flags: --destination=NAME or --tenant=ID or --key=KEY": {"pause"},
		"--tenant and --key can't be used together":                     {"pause", "--tenant", "a", "--key", "b"},
		"no database: set --database-url":                               {"pause", "--tenant", "a", "--database-url="},
	} {
		r := outbox(append([]string{args[0], "--database-url", database}, args[1:]...)...).require(t, statusUsage)
		require.Contains(t, r.stderr, want)
	}
}

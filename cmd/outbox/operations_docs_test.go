package main

import (
	"database/sql"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

const operationsPage = "../../docs/operations.md"

var (
	indexRow  = regexp.MustCompile(`(?m)^(\w+ +\w+ +(ok|missing)) .*$`)
	took      = regexp.MustCompile(`"took_seconds":[0-9.e-]+`)
	seconds   = regexp.MustCompile(`\b\d+([dhms][0-9dhms]*| days?)\b`)
	procedure = regexp.MustCompile(`(?m)^info: A transaction is open.*\n.*\n\n?`) // of tests that run beside this one
)

// Every command of the page prints what the page says.
func TestOperationsPage(t *testing.T) {
	t.Parallel()
	o := operations{t: t}
	o.open(testdb.PostgresDSN(t))
	for _, block := range transcripts(t, operationsPage) {
		status := statusDone
		for _, command := range block {
			line, want, _ := strings.Cut(strings.TrimPrefix(command, "$ "), "\n")
			if line == "echo $?" {
				require.Equal(t, strings.TrimSpace(want), strconv.Itoa(status), line)
				continue
			}
			o.before(line)
			r := o.b.outbox(strings.Fields(strings.TrimPrefix(line, "outbox "))...)
			status = r.status
			require.Equal(t, o.steadied(want), o.steadied(r.stdout+r.stderr), line)
		}
		if !strings.Contains(block[len(block)-1], "echo $?") {
			require.Equal(t, statusDone, status, block[len(block)-1])
		}
	}
}

type operations struct {
	t *testing.T
	b burial
}

func (o *operations) open(url string) {
	db, err := sql.Open("pgx", url)
	require.NoError(o.t, err)
	o.t.Cleanup(func() { require.NoError(o.t, db.Close()) })
	o.b = burial{t: o.t, url: url, db: db}
}

func (o *operations) exec(queries ...string) {
	o.t.Helper()
	for _, query := range queries {
		_, err := o.b.db.ExecContext(o.t.Context(), query)
		require.NoError(o.t, err, query)
	}
}

// before makes happen what the page speaks of.
func (o *operations) before(line string) {
	const fresh = "migrate up --partition-size 1000"
	switch {
	case line == "outbox cleanup --dry-run":
		o.b = bury(o.t, o.b.url, func() *sql.DB { return o.b.db })
		o.b.insert("e6", "acme", "t", `{"id":6}`, `{"targets":[{"destination":"shop://index"}]}`, "6")
		o.b.insert("e7", "zoo", "t", `{"id":7}`, `{"targets":[{"destination":"shop://index","conditions":{"payload.id":0}}]}`, "7")
		o.b.shop.run(o.t, o.b.url)
		o.exec(`UPDATE outbox SET created_at = '2025-03-01T10:00:00.123Z'`, `UPDATE outbox_deliveries SET updated_at = '2025-03-01T10:00:01Z'`)
	case strings.HasSuffix(line, fresh):
		o.open(testdb.PostgresDSN(o.t))
	case strings.HasPrefix(line, "outbox cleanup --older-than 0s"):
		o.exec(`INSERT INTO outbox (topic, payload) SELECT 't', '' FROM generate_series(1, 1500)`, `DELETE FROM outbox_pending WHERE seq <> 7`, `ANALYZE`)
	case line == "outbox indexes":
		o.open(testdb.PostgresDSN(o.t))
		o.b = bury(o.t, o.b.url, func() *sql.DB { return o.b.db })
		o.exec(`DROP INDEX outbox_deliveries_held`)
	case line == "outbox diagnose":
		o.exec(`UPDATE outbox SET created_at = '2025-03-01T10:00:00.123Z'`)
	}
}

func (o *operations) steadied(text string) string {
	u, err := url.Parse(o.b.url)
	require.NoError(o.t, err)
	text = strings.ReplaceAll(text, u.Query().Get("search_path"), "SCHEMA")
	text = procedure.ReplaceAllString(indexRow.ReplaceAllString(text, "$1"), "")
	return seconds.ReplaceAllString(steadied(took.ReplaceAllString(text, "took")), "AGE")
}

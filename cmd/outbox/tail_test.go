package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

func TestTailShowsTheLastEvents(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		b := bury(t, url, open)
		_, err := b.db.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload) VALUES ('t', '')`)
		require.NoError(t, err)
		tail := func(args ...string) (list []tailed) {
			t.Helper()
			r := b.outbox(append([]string{"tail", "--no-follow", "--json"}, args...)...).require(t, statusDone)
			for line := range strings.Lines(r.stdout) {
				var one tailed
				require.NoError(t, json.Unmarshal([]byte(line), &one))
				list = append(list, one)
			}
			return list
		}
		seqs := func(list []tailed) (seqs []int64) {
			for _, one := range list {
				seqs = append(seqs, one.Seq)
			}
			return seqs
		}
		all := tail()
		require.Equal(t, []int64{1, 2, 3, 4, 5, 6}, seqs(all))
		require.WithinDuration(t, time.Now(), all[0].CreatedAt, time.Minute)
		all[0].CreatedAt = time.Time{}
		require.Equal(t, tailed{Seq: 1, Status: "DEAD", TenantID: "acme", Topic: "orders.placed", Key: "order:1", ID: "e1", PayloadSize: 21}, all[0])
		require.Equal(t, []int64{5, 6}, seqs(tail("-n", "2")))
		require.Empty(t, tail("-n", "0"))
		require.Equal(t, []int64{4, 5}, seqs(tail("-n", "2", "--tenant", "zoo")))
		require.Equal(t, []int64{3, 4, 5, 6}, seqs(tail("--topic", "orders.paid", "--topic", "t")))
		require.Equal(t, []int64{1, 2}, seqs(tail("--topic", "orders.placed", "--tenant", "acme")))
		require.Equal(t, `{"id":1,"note":"<b>"}`, string(tail("--payload")[0].Payload))
		require.Equal(t, []byte("\x00\xff"), tail("--payload")[2].PayloadBase64)

		lines := strings.Split(b.outbox("tail", "--no-follow", "--payload").require(t, statusDone).stdout, "\n")
		require.Regexp(t, `^1 +20\S+\.\d{3}Z DEAD +acme +orders\.placed +order:1 +21  {"id":1,"note":"<b>"}$`, lines[0])
		require.Regexp(t, `^3 .* 2  \(no text\)$`, lines[2])
		require.Regexp(t, `^6 +20\S+Z NEW +- +t +- +0  $`, lines[5])

		// The status is what the view says.
		for _, one := range tail() {
			var status string
			require.NoError(t, b.db.QueryRowContext(t.Context(), `SELECT status FROM outbox_events WHERE seq = $1`, one.Seq).Scan(&status))
			require.Equal(t, status, one.Status)
		}
	})
}

func TestTailFollows(t *testing.T) {
	t.Parallel()
	file := binary(t)
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		outbox("migrate", "up", "--database-url", url).require(t, statusDone)
		db := open()
		insert(t, db, "orders", numbers(3)...)
		p := start(t, file, "tail", "--json", "--payload", "--interval", "10ms", "--topic", "orders", "-n", "1", "--database-url", url)
		shown := func(n int) []string {
			await.That(t, func() bool { return len(p.payloads()) >= n }, "log:\n%s", await.Later(p.logs))
			return p.payloads()
		}
		require.Equal(t, []string{`{"n":2}`}, shown(1))
		insert(t, db, "other", `{"n":98}`)
		insert(t, db, "orders", `{"n":99}`)
		require.Equal(t, []string{`{"n":2}`, `{"n":99}`}, shown(2))
		require.NoError(t, p.Process.Signal(syscall.SIGINT))
		require.Zero(t, p.end(t), p.logs())
		require.Empty(t, p.logs())
	})
}

// What is committed late is shown as soon as it can be seen; what is rolled back is forgotten.
func TestTailFindsWhatIsCommittedLate(t *testing.T) {
	t.Parallel()
	db := testdb.Postgres(t)
	st, err := store.Open(t.Context(), db, schema.Config{})
	require.NoError(t, err)
	begin := func() *sql.Tx {
		tx, err := db.BeginTx(context.Background(), nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload) VALUES ('t', '')`)
		require.NoError(t, err)
		return tx
	}
	early, never := begin(), begin() // 1 and 2
	require.NoError(t, begin().Commit())

	f := follower{store: st}
	seqs := func(list []store.Glance, err error) (seqs []int64) {
		require.NoError(t, err)
		for _, g := range list {
			seqs = append(seqs, g.Seq)
		}
		return seqs
	}
	require.Equal(t, []int64{3}, seqs(f.begin(t.Context(), 10)))
	late := begin() // 4
	require.NoError(t, begin().Commit())
	require.Equal(t, []int64{5}, seqs(f.next(t.Context())))
	for range 3 {
		require.Empty(t, seqs(f.next(t.Context())))
	}
	require.NoError(t, late.Commit())
	require.Equal(t, []int64{4}, seqs(f.next(t.Context())))
	require.NoError(t, never.Rollback())
	require.NoError(t, early.Commit())
	require.NoError(t, begin().Commit())
	require.Equal(t, []int64{1, 6}, seqs(f.next(t.Context())))
	require.Empty(t, seqs(f.next(t.Context())))
	require.Empty(t, f.gaps, "nobody can fill number 2 any more")

	// Tables that were made anew number from 1. TRUNCATE alone goes on with the numbers.
	for _, query := range []string{`TRUNCATE outbox, outbox_pending`, `ALTER TABLE outbox ALTER seq RESTART WITH 1`} {
		_, err = db.ExecContext(t.Context(), query)
		require.NoError(t, err)
	}
	require.NoError(t, begin().Commit())
	require.Equal(t, []int64{1}, seqs(f.next(t.Context())))
}

func TestTailReadsMoreThanAPage(t *testing.T) {
	t.Parallel()
	db := testdb.Postgres(t)
	st, err := store.Open(t.Context(), db, schema.Config{})
	require.NoError(t, err)
	f := follower{store: st}
	list, err := f.begin(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, list)
	const many = 2*followPage + 5
	_, err = db.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload) SELECT 't', '' FROM generate_series(1, $1)`, many)
	require.NoError(t, err)
	list, err = f.next(t.Context())
	require.NoError(t, err)
	require.Len(t, list, many)
	require.True(t, slices.IsSortedFunc(list, func(a, b store.Glance) int { return int(a.Seq - b.Seq) }))

	_, err = db.ExecContext(t.Context(), `DELETE FROM outbox`)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload) SELECT 't', '' FROM generate_series(1, $1)`, mostGaps+many)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `DELETE FROM outbox WHERE seq < (SELECT max(seq) FROM outbox)`)
	require.NoError(t, err)
	list, err = f.next(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.LessOrEqual(t, len(f.gaps), mostGaps)
	require.Equal(t, int64(many-1), f.missed)
}

func TestTailWrongUse(t *testing.T) {
	t.Parallel()
	r := outbox("tail", "--database-url", "sqlite:"+filepath.Join(t.TempDir(), "outbox.db"), "-n", "many", "--interval", "1ms", "--topic", "").require(t, statusUsage)
	for _, want := range []string{`--lines: "many" is not a whole number from 0 to 10000`, `--interval: "1ms" is not a duration of 10ms or more`, "--topic: is empty"} {
		require.Contains(t, r.stderr, want)
	}
}

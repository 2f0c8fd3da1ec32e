package store_test

import (
	"context"
	"database/sql"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func explain(t testing.TB, db queryer, query string, args ...any) string {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), "EXPLAIN "+query, args...)
	require.NoError(t, err)
	defer rows.Close()
	var b strings.Builder
	for rows.Next() {
		var line string
		require.NoError(t, rows.Scan(&line))
		b.WriteString(line + "\n")
	}
	require.NoError(t, rows.Err())
	return b.String()
}

var bigScan = regexp.MustCompile(`Seq Scan on "?outbox(_pending|_deliveries)?"?\b`)

// No statement of the loop scans a table that is large, whatever the statistics say. (Of one that fits in some hundred pages it may.)
func TestPlansUseIndexes(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"empty", "full, never analyzed", "full, analyzed", "emptied, analyzed when full", "emptied, analyzed"} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			db := testdb.Postgres(t)
			ctx := context.Background()
			s := open(t, db)
			run := func(query string) {
				t.Helper()
				_, err := db.ExecContext(ctx, query)
				require.NoError(t, err)
			}
			for _, table := range []string{"outbox", "outbox_pending", "outbox_deliveries"} {
				run("ALTER TABLE " + table + " SET (autovacuum_enabled = off)")
			}
			if state != "empty" {
				run(`INSERT INTO outbox (topic, payload, aggregate_type, aggregate_id)
					SELECT 'orders', '{}', 'order', (g % 10000)::text FROM generate_series(1, 100000) g`)
				run(`INSERT INTO outbox_deliveries (seq, target, slot, key_hash, destination, state)
					SELECT seq, t, slot, seq % 1000, t, CASE WHEN seq % 3 = 0 THEN 'waiting' ELSE 'held' END
					FROM outbox CROSS JOIN (VALUES ('t'), ('u')) AS targets(t)`)
			}
			if state == "full, analyzed" || state == "emptied, analyzed when full" {
				run("ANALYZE outbox, outbox_pending, outbox_deliveries")
			}
			if strings.HasPrefix(state, "emptied") {
				run("DELETE FROM outbox_pending")
				run("DELETE FROM outbox_deliveries")
			}
			if state == "emptied, analyzed" {
				run("ANALYZE outbox, outbox_pending, outbox_deliveries")
			}

			heads := "{" + strings.Repeat("1,", store.Slots-1) + "1}"
			slots, seqs := "{1,2,3}", "{100,200,300}"
			rows := `[{"seq":100,"target":"t","slot":1,"key_hash":1,"destination":"t","state":"held","attempts":1,"wait":1,"error":""}]`
			args := map[string][]any{
				"read":     {slots, seqs, "{10,10,10}", 1000, nil, nil, "{1,2}", "{3,4}"},
				"due":      {slots, 10, 1000, nil, nil, 10},
				"held":     {slots, seqs, 64, 1000, nil, nil, "t://", true},
				"next due": {slots},
				"done":     {slots, seqs},
				"ended":    {seqs, "{t,t,t}"}, "failed": {rows}, "release": {rows}, "still": {rows}, "hold": {rows},
				"clean renew": {"me", 60, 100}, "clean look": {100, 5000, "2020-01-01", nil}, "clean remove": {100, 5000, "2020-01-01", nil},
				"clean unsent": {100, 5000, "{skipped}"}, "clean weigh": {seqs, "2020-01-01", nil, "{a}"},
				"clean deliveries": {seqs}, "clean events": {seqs, 100, 300},
				"backlog heads": {}, "backlog states": {10001, 40001, heads}, "backlog names": {10000, 40000, heads, 10000, 156, 156},
			}
			for name, query := range s.Statements() {
				want := args[name]
				require.NotNil(t, want, name)
				tx, err := db.BeginTx(ctx, nil)
				require.NoError(t, err)
				t.Cleanup(func() { _ = tx.Rollback() }) // or the schema cannot be dropped
				if strings.HasPrefix(name, "clean") {
					_, err := tx.ExecContext(ctx, s.CleanPlan())
					require.NoError(t, err)
				}
				if strings.HasPrefix(name, "backlog") {
					_, err := tx.ExecContext(ctx, s.BacklogPlan())
					require.NoError(t, err)
				}
				plan := explain(t, tx, query, want...)
				require.NoError(t, tx.Rollback())
				if strings.Contains(plan, "JIT:") {
					t.Errorf("%s is compiled, which takes longer than it does\n%s", name, plan)
				}
				if m := bigScan.FindString(plan); m != "" && state != "empty" {
					t.Errorf("%s: %s\n%s", name, m, plan)
				}
			}
		})
	}
}

func TestDeadEventsAreListedWithoutReadingTheBigTable(t *testing.T) {
	t.Parallel()
	db := testdb.Postgres(t)
	_, err := db.ExecContext(context.Background(), `INSERT INTO outbox (topic, payload) SELECT 'orders', '{}' FROM generate_series(1, 50000)`)
	require.NoError(t, err)
	_, err = db.ExecContext(context.Background(), `INSERT INTO outbox_deliveries (seq, target, slot, destination, state)
		SELECT seq, 't', slot, 't', 'dead' FROM outbox WHERE seq <= 20`)
	require.NoError(t, err)
	_, err = db.ExecContext(context.Background(), `ANALYZE outbox, outbox_pending, outbox_deliveries`)
	require.NoError(t, err)
	plan := explain(t, db, `SELECT * FROM outbox_events WHERE status = 'DEAD'`)
	require.NotRegexp(t, `Seq Scan on "?outbox"?\b`, plan)
	require.NotContains(t, plan, "outbox_pending")
	require.Regexp(t, `Index Scan using "?outbox_pkey`, plan)
}

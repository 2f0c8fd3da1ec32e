package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// duties are what each role of docs/delivery.md does.
var duties = map[string]func(ctx context.Context, db *sql.DB) error{
	"publisher": func(ctx context.Context, db *sql.DB) error {
		_, err := db.ExecContext(ctx, `INSERT INTO outbox (topic, payload, aggregate_id) VALUES ('t', '{}', 'a')`)
		return err
	},
	"forwarder": func(ctx context.Context, db *sql.DB) error {
		s, err := store.Open(ctx, db, schema.Config{})
		return steps(err,
			func() error { return s.Join(ctx, "g", "me", store.Filter{}, time.Minute) },
			func() error { _, err := s.Renew(ctx, "me", time.Minute); return err },
			func() error { _, err := s.Members(ctx, "g"); return err },
			func() error { _, err := s.Acquire(ctx, "g", "me", 64); return err },
			func() error { return s.Release(ctx, "me", []int{0}) },
			func() error { _, err := s.Ask(ctx); return err },
			func() error { _, err := s.Writers(ctx); return err },
			func() error { return s.Rehearse(ctx) },
			func() error { _, err := s.HeldKeys(ctx, []int{1}); return err },
			func() error {
				_, err := s.Settle(ctx, store.Settlement{Group: "g", Freed: []store.HeldKey{{Slot: 1, Target: "t"}}, Cancelled: []store.Delivery{{Seq: 1, State: store.Waiting}}})
				return err
			},
			func() error { _, err := s.Controls(ctx); return err },
			func() error { return s.Pause(ctx, store.Unreachable, "d", "") },
			func() error { return s.Resume(ctx, store.Unreachable, "d") },
			func() error { return s.Leave(ctx, "me") },
		)
	},
	"cleaner": func(ctx context.Context, db *sql.DB) error {
		s, err := store.Open(ctx, db, schema.Config{})
		b := store.CleanupBatch{Owner: "me", Lease: time.Minute, Limit: 10, Sent: time.Now(), Skipped: time.Now(), Dead: time.Now()}
		return steps(err,
			func() error { _, err := s.LastCleanup(ctx); return err },
			func() error { _, _, err := s.BeginCleanup(ctx, "me", time.Minute); return err },
			func() error { _, err := s.CleanUnsent(ctx, b); return err },
			func() error { _, err := s.CleanSent(ctx, b); return err },
			func() error { return s.EndCleanup(ctx, "me", 0, store.Removed{}, true) },
		)
	},
	"operator": func(ctx context.Context, db *sql.DB) error {
		s, err := store.Open(ctx, db, schema.Config{})
		return steps(err,
			func() error { _, err := s.Replay(ctx, store.DeadFilter{Target: "replayed"}); return err },
			func() error { _, err := s.Discard(ctx, store.DeadFilter{Target: "discarded"}); return err },
			func() error { return s.Pause(ctx, store.PausedTenant, "t", "") },
			func() error { _, err := s.Controls(ctx); return err },
			func() error { return s.Resume(ctx, store.PausedTenant, "t") },
			func() error { return scanned(ctx, db, `SELECT count(*) FROM outbox_events WHERE status = 'DEAD'`) },
		)
	},
	"monitor": func(ctx context.Context, db *sql.DB) error {
		s, err := store.Open(ctx, db, schema.Config{})
		return steps(err,
			func() error { _, err := s.Backlog(ctx, true); return err },
			func() error { _, err := s.Fleet(ctx); return err },
			func() error { _, err := s.Controls(ctx); return err },
			func() error { _, err := s.LastCleanup(ctx); return err },
			func() error { _, err := s.Dead(ctx, store.DeadFilter{}, nil, 10); return err },
			func() error { _, err := s.Indexes(ctx); return err },
			func() error { _, err := s.UnfinishedSince(ctx, time.Hour); return err },
			func() error { return scanned(ctx, db, `SELECT count(*) FROM outbox_events`) },
		)
	},
}

func steps(err error, list ...func() error) error {
	for _, f := range list {
		if err != nil {
			return err
		}
		err = f()
	}
	return err
}

func scanned(ctx context.Context, db *sql.DB, query string) error {
	var n int
	return db.QueryRowContext(ctx, query).Scan(&n)
}

// The rights that docs/delivery.md lists are enough for each role, and none is too much.
func TestGrantsOfTheGuide(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/delivery.md")
	require.NoError(t, err)
	grants := map[string][][2]string{} // of a role: privilege, object
	for _, m := range regexp.MustCompile(`(?m)^GRANT (.+) ON (.+) TO outbox_(\w+);$`).FindAllStringSubmatch(string(page), -1) {
		for _, object := range strings.Split(m[2], ", ") {
			for _, privilege := range strings.Split(m[1], ", ") {
				grants[m[3]] = append(grants[m[3]], [2]string{privilege, object})
			}
		}
	}
	require.Len(t, grants, len(duties))
	for name, list := range grants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := testdb.PostgresDatabase(t)
			admin := testdb.Migrated(t, testdb.Open(t, dsn))
			exec := func(query string) {
				t.Helper()
				_, err := admin.ExecContext(t.Context(), query)
				require.NoError(t, err, query)
			}
			role := newRole(t, admin)
			for _, g := range list {
				exec(fmt.Sprintf(`GRANT %s ON %s TO %s`, g[0], g[1], role))
			}
			user := testdb.Open(t, as(t, dsn, role))
			prepare := func() {
				exec(`TRUNCATE outbox`)
				exec(`DELETE FROM outbox_forwarders`)
				exec(`DELETE FROM outbox_slots`)
				exec(`DELETE FROM outbox_cleanup`)
				exec(`INSERT INTO outbox (topic, payload, aggregate_id) SELECT 't', '{}', 'a' FROM generate_series(1, 4)`)
				exec(`DELETE FROM outbox_pending WHERE seq > (SELECT min(seq) FROM outbox)`)
				exec(`INSERT INTO outbox_deliveries (seq, target, slot, key_hash, destination, state, updated_at)
					SELECT seq, x.target, slot, x.key, 't', 'dead', now() - interval '1 day' FROM (SELECT max(seq) AS seq, max(slot) AS slot FROM outbox) e,
						(VALUES ('replayed', 1), ('discarded', 2), ('old', NULL)) x (target, key)`)
				exec(`INSERT INTO outbox_deliveries (seq, target, slot, destination, state, updated_at)
					SELECT seq, 't', slot, 't', 'skipped', now() - interval '1 day' FROM outbox ORDER BY seq DESC OFFSET 1 LIMIT 1`)
			}
			prepare()
			require.NoError(t, duties[name](t.Context(), user))
			for _, g := range list {
				prepare()
				exec(fmt.Sprintf(`REVOKE %s ON %s FROM %s`, g[0], g[1], role))
				require.Error(t, duties[name](t.Context(), user), "it works without %s ON %s", g[0], g[1])
				exec(fmt.Sprintf(`GRANT %s ON %s TO %s`, g[0], g[1], role))
			}
		})
	}
}

package store_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// A deadlock is no failure to write: the database asks to try again, whether one statement is enough for a batch or not.
func TestSettlingIsTriedAgainWhenTheDatabaseAsksForIt(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]store.Settlement{
		"done":  {Done: []store.Ref{{Seq: 1}}},
		"ended": {Ended: []store.Delivery{{Seq: 1, Target: "t"}}},
		"both":  {Done: []store.Ref{{Seq: 1}}, Ended: []store.Delivery{{Seq: 1, Target: "t"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := testdb.PostgresDSN(t)
			testdb.Migrated(t, testdb.Open(t, dsn))
			hook := new(testdb.Hook)
			s := open(t, testdb.Hooked(t, dsn, hook))
			tries := 0
			hook.Before(func(_ context.Context, query string) error {
				if strings.HasPrefix(query, "DELETE") {
					if tries++; tries < 3 {
						return &pgconn.PgError{Code: "40P01", Message: "deadlock detected"}
					}
				}
				return nil
			})
			_, err := s.Settle(t.Context(), b)
			require.NoError(t, err)
			require.GreaterOrEqual(t, tries, 3)
		})
	}
}

package store_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// Ask never answers with a number that was not given out yet. A plain read of the sequence does, about once in half a million reads, beside
// transactions that take numbers; see docs/decisions/006.
func TestTheLastNumberNeverGoesBack(t *testing.T) {
	db := testdb.Postgres(t)
	s := open(t, db)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var takers sync.WaitGroup
	for range 8 {
		takers.Go(func() {
			for ctx.Err() == nil {
				_, _ = db.ExecContext(ctx, `SELECT nextval('outbox_seq_seq') FROM generate_series(1, 200)`)
			}
		})
	}
	defer takers.Wait()
	for before := int64(0); ; {
		mark, err := s.Ask(ctx)
		if ctx.Err() != nil {
			require.Positive(t, before)
			return
		}
		require.NoError(t, err)
		require.GreaterOrEqual(t, mark.Last, before)
		before = mark.Last
	}
}

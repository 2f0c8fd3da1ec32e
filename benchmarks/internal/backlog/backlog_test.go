package backlog_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/benchmarks/internal/backlog"
)

func TestPayloadIsJSONOfItsSize(t *testing.T) {
	t.Parallel()
	p := backlog.Payload(9999, 1_000_000)
	require.Len(t, p, backlog.PayloadSize)
	require.True(t, json.Valid(p))
}

func TestKeysAreTheSameEveryTime(t *testing.T) {
	t.Parallel()
	for _, zipf := range []float64{0, 1.1} {
		require.Equal(t, backlog.Keys(1000, 100, zipf), backlog.Keys(1000, 100, zipf))
	}
	count := map[int32]int{}
	for _, k := range backlog.Keys(100_000, 10_000, 1.1) {
		count[k]++
	}
	require.InDelta(t, 0.15, float64(count[0])/100_000, 0.03)
}

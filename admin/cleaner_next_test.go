package admin

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNextCleanup(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	for _, c := range []struct{ at, now, next string }{
		{"", "2025-03-01T00:30:00+01:00", "2025-03-01T02:00:00+01:00"},
		{"", "2025-03-01T02:00:00+01:00", "2025-03-02T02:00:00+01:00"},
		{"23:59", "2025-02-28T23:59:30+01:00", "2025-03-01T23:59:00+01:00"},
		{"02:30", "2025-03-29T12:00:00+01:00", "2025-03-30T03:30:00+02:00"}, // there is no 02:30 on that day
		{"02:30", "2025-03-30T04:00:00+02:00", "2025-03-31T02:30:00+02:00"},
	} {
		cfg, at, err := CleanerConfig{At: c.at, Location: berlin}.withDefaults()
		require.NoError(t, err)
		now, err := time.Parse(time.RFC3339, c.now)
		require.NoError(t, err)
		next := (&Cleaner{cfg: cfg, at: at}).next(now.UTC())
		require.Equal(t, c.next, next.Format(time.RFC3339))
	}
}

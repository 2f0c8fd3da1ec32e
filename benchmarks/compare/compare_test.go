package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTableShowsMedianRangeAndRatioWithinRepeats(t *testing.T) {
	t.Parallel()
	r := report{Settings: settings{Events: []int{100}, Destinations: []string{"redis", "1ms"}, Repeats: 3, Keys: 10, Window: 20 * time.Second}}
	for i, ours := range []float64{30_000, 10_000, 20_000} {
		r.Runs = append(r.Runs,
			measurement{System: "stock", Destination: "redis", Events: 100, Repeat: i + 1, PerSecond: 5000, Whole: i > 0},
			measurement{System: "ours", Destination: "redis", Events: 100, Repeat: i + 1, PerSecond: ours, Whole: true})
	}
	var b strings.Builder
	require.NoError(t, r.table(&b))
	require.Contains(t, b.String(), "| redis | 100 | 5000 (5000-5000) | 20.0k (10.0k-30.0k) | 4.0x (2.0x-6.0x) | stock: the first 20s only |\n")
	require.NotContains(t, b.String(), "1ms")
}

func TestResultsAreReadBackAndHoldNoURL(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := report{Settings: settings{databaseURL: "postgres://user:secret@host/db", Events: []int{1}}, Runs: []measurement{{System: "ours", Load: "1"}}}
	require.NoError(t, r.save(dir))
	read, err := load(dir + "/" + r.Started.Format("2006-01-02T150405") + "-uniform.json")
	require.NoError(t, err)
	require.Equal(t, r.Runs, read.Runs)
	require.Empty(t, read.Settings.databaseURL)
}

func TestAllFaultsOfTheArgumentsAreListed(t *testing.T) {
	t.Parallel()
	_, err := parse([]string{"--database-url", "postgres://", "--events", "x", "--destinations", "moon", "--zipf", "0.5", "--only", "("}, io.Discard)
	for _, what := range []string{"--events", "--destinations", "--zipf", "--only"} {
		require.ErrorContains(t, err, what)
	}
}

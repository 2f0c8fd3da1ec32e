package lab

import (
	"encoding/xml"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	if Child() {
		return
	}
	os.Exit(m.Run())
}

func TestTableShowsMedianRangeAndRatioWithinRepeats(t *testing.T) {
	t.Parallel()
	r := report{Settings: Settings{
		Systems: []string{"stock", "ours"}, Events: []int{100}, Destinations: []string{"redis", "1ms"}, Repeats: 3, Keys: 10, Window: 20 * time.Second,
	}}
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
	r := report{
		Settings: Settings{DatabaseURL: "postgres://user:secret@host/db", Events: []int{1}, Systems: []string{"ours"}},
		Runs:     []measurement{{System: "ours", Load: "1"}},
	}
	require.NoError(t, r.save(dir))
	file := dir + "/" + r.Started.Format("2006-01-02T150405") + "-ours.json"
	read, err := load(file)
	require.NoError(t, err)
	require.Equal(t, r.Runs, read.Runs)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NotContains(t, string(text), "secret")
}

func TestAllFaultsOfTheSettingsAreListed(t *testing.T) {
	t.Parallel()
	err := Run(t.Context(), Settings{
		Events: []int{-1}, Destinations: []string{"moon", "kafka"}, Systems: []string{"theirs"}, Zipf: 0.5, Only: "(", Payload: 3,
	}, io.Discard, io.Discard)
	for _, what := range []string{"database", "events", "moon", "Kafka", "theirs", "zipf", "only", "payload"} {
		require.ErrorContains(t, err, what)
	}
}

// Each system delivers everything once and in order, or Run returns an error.
func TestEverySystemDeliversItsBacklog(t *testing.T) {
	url := os.Getenv("OUTBOX_TEST_POSTGRES_URL")
	if url == "" {
		t.Skip("OUTBOX_TEST_POSTGRES_URL is not set")
	}
	var out, progress strings.Builder
	err := Run(t.Context(), Settings{
		DatabaseURL: url, Events: []int{2000}, Systems: []string{"stock", "loop", "held", "ours", "ours-router"}, Repeats: 1, Finished: 500, Payload: 2000, Profile: t.TempDir(),
	}, &out, &progress)
	require.NoError(t, err, progress.String())
	require.Contains(t, out.String(), "| nothing | 2000 |")
	require.Contains(t, out.String(), "500 finished events")
	err = Run(t.Context(), Settings{
		DatabaseURL: url, Events: []int{500}, Systems: []string{"one-process", "two-processes"}, Destinations: []string{"1ms"}, Repeats: 1,
	}, &out, &progress)
	require.NoError(t, err, progress.String())
	require.Contains(t, out.String(), "| 1ms | 500 |")
}

func TestSteadyLoadArrives(t *testing.T) {
	url := os.Getenv("OUTBOX_TEST_POSTGRES_URL")
	if url == "" {
		t.Skip("OUTBOX_TEST_POSTGRES_URL is not set")
	}
	var out strings.Builder
	s := Steady{DatabaseURL: url, Rate: 100, Duration: 4 * time.Second, Held: true, LowLatency: true, Late: 500 * time.Millisecond}
	require.NoError(t, RunSteady(t.Context(), s, &out, io.Discard))
	require.Regexp(t, `^\| 100/s for 4s, .* \| 40\d \| \d+/s \| .* \(1\) \|`, out.String())
	s = Steady{DatabaseURL: url, Rate: 100, Duration: time.Second, Router: true}
	require.NoError(t, RunSteady(t.Context(), s, &out, io.Discard))
	require.Contains(t, out.String(), "on a Router")
}

func TestChartShowsMedians(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := report{Settings: Settings{Events: []int{10}, Systems: []string{"stock", "ours"}, Destinations: []string{"<a>"}}}
	for _, v := range []float64{1000, 3000, 2000} {
		r.Runs = append(r.Runs, measurement{System: "ours", Destination: "<a>", Events: 10, PerSecond: v})
	}
	require.NoError(t, r.save(dir))
	var out strings.Builder
	require.NoError(t, Chart([]string{dir + "/" + r.Started.Format("2006-01-02T150405") + "-stock-ours.json"}, &out))
	require.Contains(t, out.String(), "ours 2000/s")
	require.Contains(t, out.String(), "&lt;a&gt;, 10 waiting")
	require.NoError(t, xml.Unmarshal([]byte(out.String()), new(struct{ XMLName xml.Name })))
}

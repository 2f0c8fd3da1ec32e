package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// nextBinary builds the command with a migration more, which adds what the release before does not know. The sources are not touched.
func nextBinary(t *testing.T) (file string, version int) {
	t.Helper()
	dir := "../../schema/migrations/postgres"
	known, err := filepath.Glob(dir + "/*.up.sql")
	require.NoError(t, err)
	version = len(known) + 1
	tmp := t.TempDir()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for direction, text := range map[string]string{
		"up":   "ALTER TABLE {{.Outbox}} ADD COLUMN next_release text NOT NULL DEFAULT 'new';\nALTER TABLE {{.Deliveries}} ADD COLUMN next_release integer;\n",
		"down": "ALTER TABLE {{.Outbox}} DROP COLUMN next_release;\nALTER TABLE {{.Deliveries}} DROP COLUMN next_release;\n",
	} {
		name := fmt.Sprintf("%03d_next.%s.sql", version, direction)
		at, err := filepath.Abs(filepath.Join(dir, name))
		require.NoError(t, err)
		overlay.Replace[at] = filepath.Join(tmp, name)
		require.NoError(t, os.WriteFile(overlay.Replace[at], []byte(text), 0o600))
	}
	list, err := json.Marshal(overlay)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(tmp, "overlay.json"), list, 0o600))
	file = filepath.Join(tmp, "next")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", filepath.Join(tmp, "overlay.json"), "-o", file, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return file, version
}

// A release with a new migration is rolled out over one that runs. What it shows: forwarders of this release go on beside those of the next one
// and hand their slots over, nothing is lost and no order broken, while the tables get a column more; and neither starts on tables that are
// not its own. The next release differs by its migration alone, so that it does not show what a migration must not do: take away what the
// release before uses.
func TestRollingUpgrade(t *testing.T) {
	t.Parallel()
	now := binary(t)
	next, version := nextBinary(t)
	dsn := testdb.PostgresDSN(t)
	db := testdb.Open(t, dsn)
	sink := newOrderSink(t)
	daemon := func(file string) *process {
		p := start(t, file, "run", "--to", sink.URL, "--lease", "3s", "--metrics-port", "0", "--database-url", dsn)
		p.ready(t, http.StatusOK, `"ready":true`)
		return p
	}
	published := 0
	publish := func(n int) {
		for range n {
			_, err := db.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload, aggregate_id) VALUES ('orders', $1, $2)`,
				fmt.Sprintf(`{"key":%d,"n":%d}`, published%20, published), strconv.Itoa(published%20))
			require.NoError(t, err)
			published++
		}
	}
	delivered := func(what string) {
		t.Helper()
		await.That(t, func() bool { return len(sink.numbers()) >= published }, what)
	}
	stop := func(p *process) {
		t.Helper()
		require.NoError(t, p.Process.Signal(syscall.SIGTERM))
		require.Zero(t, p.end(t), p.logs())
		require.NotContains(t, p.logs(), "level=ERROR")
	}
	refused := func(file, want string) {
		t.Helper()
		p := start(t, file, "run", "--to", sink.URL, "--database-url", dsn)
		require.Equal(t, statusFailed, p.end(t))
		require.Contains(t, p.logs(), want)
	}

	outbox("migrate", "up", "--database-url", dsn).require(t, statusDone)
	first, second := daemon(now), daemon(now)
	publish(200)
	refused(next, fmt.Sprintf("at version %d, want %d; bring them up with", version-1, version))
	up := start(t, next, "migrate", "up", "--database-url", dsn) // beside those that run
	require.Zero(t, up.end(t), up.logs())
	publish(200)
	delivered("by this release, from the tables of the next")

	third := daemon(next)
	publish(200)
	stop(first)
	publish(200)
	refused(now, fmt.Sprintf("version %d is newer than %d", version, version-1))
	publish(200)
	stop(second)
	publish(200)
	delivered("by the next release alone, in the end")
	stop(third)

	want := make([]int, published)
	for i := range want {
		want[i] = i
	}
	got := sink.numbers()
	last := map[int]int{}
	for _, n := range got {
		if before, seen := last[n%20]; seen {
			require.Greater(t, n, before, "order of key %d", n%20)
		}
		last[n%20] = n
	}
	slices.Sort(got)
	require.Equal(t, want, got, "each once")
}

// orderSink is a destination that keeps the order in which events came, from however many forwarders.
type orderSink struct {
	*httptest.Server
	mu   sync.Mutex
	came []int
}

func newOrderSink(t *testing.T) *orderSink {
	s := &orderSink{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var event struct{ N int }
		if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.came = append(s.came, event.N)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *orderSink) numbers() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.came)
}

package main

import (
	"context"
	"database/sql"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/await"
)

var servedAt = regexp.MustCompile(`address[=":]+(127\.0\.0\.1:\d+)`)

// served waits until p answers over HTTP and returns where.
func (p *process) served(t *testing.T) string {
	t.Helper()
	p.waitFor(t, "Serving HTTP")
	return "http://" + servedAt.FindStringSubmatch(p.logs())[1]
}

// get returns the status and the body of a page; 0 when nobody answers.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), await.Patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body)
}

func (p *process) ready(t *testing.T, want int, text string) {
	t.Helper()
	base := p.served(t)
	await.That(t, func() bool {
		status, body := get(t, base+"/readyz")
		return status == want && strings.Contains(body, text)
	}, "want %d %s", want, text)
}

// A database that is down makes a forwarder unready, never unhealthy, and it is ready again when the database is.
func TestReadyIsNotAlive(t *testing.T) {
	t.Parallel()
	file := binary(t)
	_, through, relay := relayed(t)
	p := start(t, file, "run", "--to", "console://stdout", "--metrics-port", "0", "--database-url", through)
	healthy := func() {
		t.Helper()
		status, body := get(t, p.served(t)+"/healthz")
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, "alive\n", body)
	}
	p.ready(t, http.StatusOK, `"ready":true`)
	healthy()
	relay.Down(t)
	p.ready(t, http.StatusServiceUnavailable, `"database":"does not answer"`)
	healthy()
	relay.Up(t)
	p.ready(t, http.StatusOK, `"ready":true`)
	status, _ := get(t, p.served(t)+"/metricz")
	require.Equal(t, http.StatusNotFound, status)
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Zero(t, p.end(t), p.logs())
}

// While it drains it is alive and not ready, so that nobody restarts it and nobody counts on it.
func TestUnreadyWhileStopping(t *testing.T) {
	t.Parallel()
	file := binary(t)
	asked, answer := make(chan struct{}, 10), make(chan struct{})
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the end of the connection is not seen
		asked <- struct{}{}
		select {
		case <-answer:
		case <-r.Context().Done(): // the process was killed
		}
	}))
	t.Cleanup(hook.Close)
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		outbox("migrate", "up", "--database-url", url).require(t, statusDone)
		insert(t, open(), "orders", `{}`)
		p := start(t, file, "run", "--to", hook.URL, "--metrics-port", "127.0.0.1:0", "--database-url", url)
		p.ready(t, http.StatusOK, `"ready":true`)
		<-asked
		require.NoError(t, p.Process.Signal(syscall.SIGTERM))
		p.ready(t, http.StatusServiceUnavailable, `"forwarder":"is stopping"`)
		status, _ := get(t, p.served(t)+"/healthz")
		require.Equal(t, http.StatusOK, status)
		answer <- struct{}{}
		require.Zero(t, p.end(t), p.logs())
	})
}

// A port in use ends the command before anything is forwarded.
func TestPortInUse(t *testing.T) {
	t.Parallel()
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, taken.Close()) })
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		outbox("migrate", "up", "--database-url", url).require(t, statusDone)
		insert(t, open(), "orders", `{}`)
		r := outbox("run", "--once", "--to", "console://stdout", "--log-level", "error", "--metrics-port", taken.Addr().String(), "--database-url", url).
			require(t, statusFailed)
		require.Equal(t, "outbox: cannot listen at "+taken.Addr().String()+": bind: address already in use; "+
			"set metrics_port (METRICS_PORT) to a free port, or stop what uses this one\n", r.stderr)
		require.Empty(t, r.stdout)
		require.Regexp(t, `pending +- +1 `, outbox("stats", "--database-url", url).require(t, statusDone).stdout)
	})
}

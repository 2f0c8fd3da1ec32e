package main

import (
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

// What a forwarder answers is what the health check of its container says.
func TestHealthAsksTheForwarder(t *testing.T) {
	t.Parallel()
	file := binary(t)
	_, through, relay := relayed(t)
	p := start(t, file, "run", "--to", "console://stdout", "--metrics-port", "0.0.0.0:0", "--database-url", through)
	p.waitFor(t, "Serving HTTP")
	port := regexp.MustCompile(`address=\S+:(\d+)`).FindStringSubmatch(p.logs())[1]
	health := func(args ...string) result {
		return outbox(append([]string{"health", "--metrics-port", "0.0.0.0:" + port}, args...)...)
	}

	await.That(t, func() bool { return health().status == statusDone })
	require.Equal(t, "ready\n", health().require(t, statusDone).stdout)
	require.Equal(t, "alive\n", health("--live").require(t, statusDone).stdout)
	require.Equal(t, "ready\n", outbox("health", "--metrics-port", port).require(t, statusDone).stdout, "by the port alone")

	relay.Down(t)
	await.That(t, func() bool { return health().status == statusFailed })
	require.Regexp(t, `^outbox: not ready: database does not answer(, forwarder cannot .*)?\n$`, health().require(t, statusFailed).stderr)
	require.Equal(t, "alive\n", health("--live").require(t, statusDone).stdout)

	relay.Up(t)
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Zero(t, p.end(t), p.logs())
}

// A port at which nobody listens, and which nobody else gets meanwhile: connections from it have no other end.
func TestHealthOfNobody(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	client, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	address := client.LocalAddr().String()
	require.Equal(t, "outbox: not alive: cannot reach "+address+": connect: connection refused; is outbox run running with the same METRICS_PORT?\n",
		outbox("health", "--live", "--metrics-port", address).require(t, statusFailed).stderr)
}

func unavailable(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, body)
	}
}

func TestHealthOfWhatIsNoForwarder(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
		args   []string
	}{
		"another server":    {http.NotFound, "not ready: ADDRESS answers /readyz with 404; is this a forwarder's METRICS_PORT?", nil},
		"a page elsewhere":  {http.RedirectHandler("/login", http.StatusFound).ServeHTTP, "not ready: ADDRESS answers /readyz with 302; is this", nil},
		"unavailable":       {unavailable(""), "not ready: no reason given", nil},
		"no checks":         {unavailable(`{}`), "not ready: no reason given", nil},
		"all is well":       {unavailable(`{"checks":{"database":"ok"}}`), "not ready: no reason given", nil},
		"no answer in time": {func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() }, "not ready: no answer from ADDRESS within 100ms", []string{"--timeout", "100ms"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(c.answer)
			t.Cleanup(server.Close)
			address := server.Listener.Addr().String()
			r := outbox(append([]string{"health", "--metrics-port", address}, c.args...)...).require(t, statusFailed)
			require.Contains(t, r.stderr, "outbox: "+strings.ReplaceAll(c.want, "ADDRESS", address))
			require.Equal(t, 1, strings.Count(r.stderr, "\n"))
			require.Empty(t, r.stdout)
		})
	}
}

func TestHealthWrongUse(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"no forwarder to ask: set --metrics-port or METRICS_PORT":               {},
		"--metrics-port: 0 gives the forwarder an unknown port":                 {"--metrics-port", "0"},
		`--metrics-port: "web" is neither a port from 0 to 65535 nor host:port`: {"--metrics-port", "web"},
		`--timeout: "soon" is not a duration of 1ms or more`:                    {"--metrics-port", "1", "--timeout", "soon"},
	} {
		r := outbox(append([]string{"health"}, args...)...).require(t, statusUsage)
		require.Contains(t, r.stderr, "outbox: "+want)
		require.Equal(t, 1, strings.Count(r.stderr, "\n"), r.stderr)
	}
}

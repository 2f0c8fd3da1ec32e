package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// stranger holds a connection open.
type stranger struct {
	net.Conn
	answers *bufio.Reader
}

func dial(t *testing.T, address string) stranger {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	return stranger{conn, bufio.NewReader(conn)}
}

// say sends text; a connection that was closed meanwhile is none of the test's.
func (s stranger) say(text string) { _, _ = io.WriteString(s.Conn, text) }

// Strangers who hold connections, in every way that there is, take none of the forwarder's own, and lock out neither Prometheus nor the probe.
func TestStrangersWhoHoldConnections(t *testing.T) {
	t.Parallel()
	file := binary(t)
	var posts atomic.Int32
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		posts.Add(1)
	}))
	t.Cleanup(hook.Close)
	url := testdb.PostgresDSN(t)
	outbox("migrate", "up", "--database-url", url).require(t, statusDone)
	p := start(t, "/bin/sh", "-c", `ulimit -n 200 && exec "$0" "$@"`, file, "run", "--to", hook.URL, "--metrics-port", "0", "--database-url", url)
	base := p.served(t)
	address := strings.TrimPrefix(base, "http://")
	p.ready(t, http.StatusOK, `"ready":true`)

	db := testdb.Open(t, url)
	stored := 0
	for name, hold := range map[string]func(s stranger){
		"say nothing":        func(stranger) {},
		"begin a header":     func(s stranger) { s.say("GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ") },
		"send a body slowly": func(s stranger) { s.say("GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n") },
		"send an action's, slowly": func(s stranger) {
			s.say("POST /actions/replay HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
		},
		"keep a connection": func(s stranger) {
			s.say("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
			if response, err := http.ReadResponse(s.answers, nil); err == nil {
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
			}
		},
	} {
		var all sync.WaitGroup
		for range 250 {
			s := dial(t, address)
			all.Go(func() { hold(s) })
		}
		all.Wait()
		for _, page := range []string{"/healthz", "/readyz", "/metrics"} {
			client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
			response, err := client.Get(base + page) //nolint:noctx // it has a timeout
			require.NoError(t, err, "strangers who %s; %s", name, p.logs())
			require.NoError(t, response.Body.Close())
			require.Equal(t, http.StatusOK, response.StatusCode, "strangers who %s: %s", name, page)
		}
		for i := range 100 { // each of a key of its own, so that many are in flight
			_, err := db.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload, aggregate_id) VALUES ('orders', '{}', $1)`, fmt.Sprint(i))
			require.NoError(t, err)
		}
		stored += 100
		await.That(t, func() bool { return int(posts.Load()) >= stored }, "strangers who %s; %s", name, p.logs())
	}
	require.NotContains(t, p.logs(), "too many open files")
	require.NotContains(t, p.logs(), "level=ERROR")
	require.NotContains(t, p.logs(), "level=WARN")
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Zero(t, p.end(t), p.logs())
}

// One connection more than there may be closes the one that was idle for longest, and none that is at work while one is idle.
func TestConnectionsThatMakeRoom(t *testing.T) {
	t.Parallel()
	c := newConnections(3)
	conns := make([]net.Conn, 6)
	for i := range conns {
		conns[i], _ = net.Pipe()
	}
	for _, step := range []struct {
		conn  int
		state http.ConnState
		want  int // index of the one that goes; -1 for none
	}{
		{0, http.StateNew, -1},
		{0, http.StateActive, -1},
		{1, http.StateNew, -1},
		{1, http.StateActive, -1},
		{1, http.StateIdle, -1},
		{2, http.StateNew, -1},
		{3, http.StateNew, 1},     // the only idle one
		{1, http.StateActive, -1}, // too late
		{1, http.StateClosed, -1},
		{4, http.StateNew, 0}, // the one that has been at work for longest
		{2, http.StateClosed, -1},
		{3, http.StateHijacked, -1},
		{5, http.StateNew, -1},
		{0, http.StateNew, -1},
		{1, http.StateNew, 4},
	} {
		surplus := c.move(conns[step.conn], step.state)
		if step.want < 0 {
			require.Nil(t, surplus)
			continue
		}
		require.Equal(t, conns[step.want], surplus)
	}
	require.Equal(t, 3, len(c.places))
	require.Equal(t, 3, c.idle.Len()+c.busy.Len())
}

// What net/http complains of is logged a line a minute at most, by our logger, and without what a stranger sent.
func TestServerLog(t *testing.T) {
	t.Parallel()
	var b buffer
	server := httptest.NewUnstartedServer(nil)
	server.Config = newServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { panic("cannot " + r.URL.RawQuery) }),
		newLog(&b, config.Default().Monitoring))
	server.Start()
	defer server.Close()
	begun := time.Now()
	for range 20 {
		request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, server.URL+"/?tiger", nil)
		require.NoError(t, err)
		if response, err := http.DefaultClient.Do(request); err == nil {
			_ = response.Body.Close()
		}
	}
	require.Contains(t, b.String(), `level=WARN msg="The HTTP server of monitoring reports a fault" error="panic < github.com/bento-outbox/watermill-outbox/cmd/outbox.TestServerLog`)
	require.NotContains(t, b.String(), "tiger")
	require.LessOrEqual(t, strings.Count(b.String(), "\n"), 1+int(time.Since(begun)/time.Minute))

	for text, want := range map[string]string{
		"http: TLS handshake error from 10.0.0.1:99: tls: first record does not look like: tiger": "TLS handshake error",
		"http: Accept error: accept tcp 127.0.0.1:9090: accept4: too many open files; retrying in 5ms": "http: Accept error: accept tcp 127.0.0.1:9090: accept4: " +
			"too many open files; retrying in 5ms",
		"http: panic serving 10.0.0.1:99: tiger\ngoroutine 7 [running]:\nnet/http.(*conn).serve.func1(0x1)\n\tfile:1 tiger": "panic",
		"tiger": "tiger", // nothing that net/http says begins so
	} {
		require.Equal(t, want, complaint(text+"\n"))
	}
}

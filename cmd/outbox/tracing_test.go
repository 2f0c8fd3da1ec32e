package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// traceServer is an OTLP collector over HTTP.
type traceServer struct {
	*httptest.Server
	answer func(http.ResponseWriter, *http.Request) // nil takes what comes

	mu       sync.Mutex
	requests int
	services map[string]bool
	spans    map[string]*otlp.Span // by name
}

func newTraceServer(t *testing.T, answer func(http.ResponseWriter, *http.Request)) *traceServer {
	s := &traceServer{answer: answer, services: map[string]bool{}, spans: map[string]*otlp.Span{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		s.mu.Lock()
		s.requests++
		var batch collector.ExportTraceServiceRequest
		if err == nil && r.Method == http.MethodPost && r.URL.Path == "/v1/traces" && proto.Unmarshal(body, &batch) == nil {
			for _, from := range batch.ResourceSpans {
				for _, a := range from.Resource.Attributes {
					if a.Key == "service.name" {
						s.services[a.Value.GetStringValue()] = true
					}
				}
				for _, scope := range from.ScopeSpans {
					for _, span := range scope.Spans {
						s.spans[span.Name] = span
					}
				}
			}
		}
		s.mu.Unlock()
		if s.answer != nil {
			s.answer(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *traceServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// startWith is start with variables of its own.
func startWith(t *testing.T, env []string, file string, args ...string) *process {
	t.Helper()
	return start(t, "/usr/bin/env", append(append(env, file), args...)...)
}

// stored returns the URL of a new SQLite database with events, the first of which was published under a span.
func stored(t *testing.T, payloads ...string) string {
	t.Helper()
	url := "sqlite:" + filepath.Join(t.TempDir(), "outbox.db")
	outbox("migrate", "up", "--database-url", url).require(t, statusDone)
	db, err := sql.Open("sqlite", testdb.SQLiteDSN(strings.TrimPrefix(url, "sqlite:")))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	for i, payload := range payloads {
		var metadata any
		if i == 0 {
			metadata = `{"traceparent":"00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01"}`
		}
		_, err := db.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload, event_metadata) VALUES ('orders', $1, $2)`, payload, metadata)
		require.NoError(t, err)
	}
	return url
}

func (p *process) delivered(t *testing.T, n int) {
	t.Helper()
	await.That(t, func() bool { return len(p.payloads()) == n }, "log:\n%s", await.Later(p.logs))
}

// Spans that wait for their batch are exported when the process is told to end.
func TestRunExportsTraces(t *testing.T) {
	t.Parallel()
	file := binary(t)
	server := newTraceServer(t, nil)
	p := startWith(t, []string{otlpEndpoint + "=" + server.URL, "OTEL_BSP_SCHEDULE_DELAY=600000"}, file,
		"run", "--to", "console://stdout", "--database-url", stored(t, `{"n":1}`))
	p.delivered(t, 1)
	require.Zero(t, server.count())
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Zero(t, p.end(t), p.logs())
	require.Equal(t, 1, server.count(), p.logs())
	require.Equal(t, map[string]bool{"outbox": true}, server.services)
	claim, route, publish := server.spans["claim outbox"], server.spans["route orders"], server.spans["publish orders"]
	require.NotNil(t, claim)
	require.NotNil(t, route)
	require.NotNil(t, publish)
	require.Equal(t, []byte{1, 2, 3, 4, 5, 6, 7, 8}, route.ParentSpanId)
	require.Equal(t, route.SpanId, publish.ParentSpanId)
	require.Equal(t, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, publish.TraceId)
	var printed struct{ Metadata map[string]string }
	require.NoError(t, json.Unmarshal([]byte(p.lines[0]), &printed))
	require.Contains(t, printed.Metadata["traceparent"], "00-0102030405060708090a0b0c0d0e0f10-")
	require.NotContains(t, printed.Metadata["traceparent"], "-0102030405060708-")
}

func TestTracingByTheStandardVariables(t *testing.T) {
	t.Parallel()
	file := binary(t)
	for name, c := range map[string]struct {
		env  []string
		want map[string]bool
	}{
		"named":     {[]string{"OTEL_SERVICE_NAME=shop-outbox"}, map[string]bool{"shop-outbox": true}},
		"sampler":   {[]string{"OTEL_TRACES_SAMPLER=always_off"}, map[string]bool{}},
		"exporter":  {[]string{otelTracesExporter + "=none"}, map[string]bool{}},
		"disabled":  {[]string{otelDisabled + "=true"}, map[string]bool{}},
		"own paths": {[]string{otlpEndpoint + "=http://127.0.0.1:1"}, map[string]bool{"outbox": true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newTraceServer(t, nil)
			p := startWith(t, append([]string{otlpTracesEndpoint + "=" + server.URL + "/v1/traces"}, c.env...), file,
				"run", "--once", "--to", "console://stdout", "--database-url", stored(t, `{}`))
			require.Zero(t, p.end(t), p.logs())
			require.Len(t, p.payloads(), 1)
			require.Equal(t, c.want, server.services, p.logs())
		})
	}
}

// A collector that refuses everything, is not there, or hangs: events are delivered, and the log says so once.
func TestCollectorThatDoesNotWork(t *testing.T) {
	t.Parallel()
	file := binary(t)
	hang, goOn := context.WithCancel(context.Background())
	t.Cleanup(goOn)
	refusing := newTraceServer(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no tenant", http.StatusBadRequest) })
	hanging := newTraceServer(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang.Done():
		case <-r.Context().Done():
		}
	})
	for name, url := range map[string]string{"refuses": refusing.URL, "gone": "http://127.0.0.1:1", "hangs": hanging.URL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			payloads := numbers(100)
			p := startWith(t, []string{otlpEndpoint + "=" + url, "OTEL_BSP_SCHEDULE_DELAY=1", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=4"}, file,
				"run", "--to", "console://stdout", "--database-url", stored(t, payloads...))
			p.delivered(t, len(payloads))
			if name == "refuses" {
				await.That(t, func() bool { return refusing.count() > 10 })
			}
			require.NoError(t, p.Process.Signal(syscall.SIGTERM))
			ended := time.Now()
			require.Zero(t, p.end(t), p.logs())
			require.Less(t, time.Since(ended), flushWait+10*time.Second)
			require.LessOrEqual(t, strings.Count(p.logs(), "Tracing does not work"), 1, p.logs())
			if name != "hangs" {
				require.Contains(t, p.logs(), "Tracing does not work; events are still delivered")
			} else {
				require.Contains(t, p.logs(), "Ended without exporting the last traces")
			}
		})
	}
}

func TestWrongTracingVariables(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{otlpEndpoint, "collector:4318", "OTEL_EXPORTER_OTLP_ENDPOINT: is not a URL, such as http://collector:4318"},
		{otlpTracesEndpoint, "https://", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: is not a URL"},
		{otlpProtocol, "http/json", `OTEL_EXPORTER_OTLP_PROTOCOL: "http/json" is not supported; set it to http/protobuf`},
		{otlpProtocol, "grpc", `OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" is not supported; set it to http/protobuf`},
		{otelTracesExporter, "zipkin", `OTEL_TRACES_EXPORTER: "zipkin" is not supported; want otlp or none`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(otlpEndpoint, "http://user:hunter2@collector:4318")
			t.Setenv(c.name, c.value)
			r := outbox("config", "check", "--to", "console://stdout", "--database-url", "sqlite:x.db").require(t, statusUsage)
			require.Contains(t, r.stderr, c.want)
			require.NotContains(t, r.stderr, "hunter2")
		})
	}
	require.Empty(t, os.Getenv(otlpEndpoint))
}

// A collector that is down does not fill the log.
func TestTracingFaultsAreLoggedSeldom(t *testing.T) {
	t.Parallel()
	var b buffer
	h := newLog(&b, config.Default().Monitoring).seldom("Tracing does not work", redacted)
	for range 1000 {
		h.Handle(io.ErrUnexpectedEOF)
	}
	require.Equal(t, 1, strings.Count(b.String(), "\n"), b.String())
	require.Contains(t, b.String(), "more=0")
}

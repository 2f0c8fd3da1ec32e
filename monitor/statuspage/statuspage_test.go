package statuspage_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/monitor"
	"github.com/bento-outbox/watermill-outbox/monitor/statuspage"
	"github.com/bento-outbox/watermill-outbox/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "correct horse battery"

func execute(t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	for _, text := range statements {
		_, err := db.ExecContext(context.Background(), text)
		require.NoError(t, err, text)
	}
}

// site is a status page below a prefix.
type site struct {
	t     *testing.T
	store *store.Store
	h     http.Handler
}

func open(t *testing.T, db *sql.DB, cfg statuspage.Config) site {
	t.Helper()
	m, err := monitor.New(context.Background(), db, monitor.Config{}, nil)
	require.NoError(t, err)
	cfg.Hosts = append(cfg.Hosts, "status.example")
	h, err := statuspage.New(m, cfg, nil)
	require.NoError(t, err)
	st, err := store.Open(context.Background(), db, schema.Config{})
	require.NoError(t, err)
	return site{t, st, http.StripPrefix("/outbox", h)}
}

// reply is what the site answered.
type reply struct {
	StatusCode int
	Header     http.Header
	Body       string
}

func (s site) do(method, path, body string, header ...string) reply {
	s.t.Helper()
	r := httptest.NewRequest(method, "http://status.example/outbox"+path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	return reply{w.Code, w.Header(), w.Body.String()}
}

func (s site) get(path string) string {
	s.t.Helper()
	r := s.do(http.MethodGet, path, "")
	require.Equal(s.t, http.StatusOK, r.StatusCode, path)
	return r.Body
}

// act does what the page's script does.
func (s site) act(action, body string) (status int, count int, fault string) {
	s.t.Helper()
	r := s.do(http.MethodPost, "/actions/"+action, body, "Authorization", "Bearer "+token, "Content-Type", "application/json",
		"Origin", "http://status.example", "Sec-Fetch-Site", "same-origin")
	var answer struct {
		Count int
		Error string
	}
	require.NoError(s.t, json.Unmarshal([]byte(r.Body), &answer))
	return r.StatusCode, answer.Count, answer.Error
}

// bury makes n dead letters for kafka://orders, of tenant acme.
func bury(t *testing.T, db *sql.DB, n string) {
	t.Helper()
	execute(t, db, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < `+n+`)
			INSERT INTO outbox (tenant_id, topic, payload) SELECT 'acme', 'orders', '"very secret"' FROM n`,
		`DELETE FROM outbox_pending`,
		`INSERT INTO outbox_deliveries (seq, target, slot, destination, state, attempts, error)
			SELECT seq, 'search', slot, 'kafka://orders', 'dead', 5, 'server answered 422' FROM outbox`)
}

func TestPageShowsTheOutbox(t *testing.T) {
	t.Parallel()
	db := testdb.SQLite(t)
	s := open(t, db, statuspage.Config{Title: "Shop"})
	bury(t, db, "3")
	execute(t, db, `INSERT INTO outbox (tenant_id, topic, payload) VALUES ('<script>alert(1)</script>', 'orders', '1')`)
	require.NoError(t, s.store.Pause(context.Background(), store.Unreachable, "kafka://orders", `connection <refused>`))
	require.NoError(t, s.store.Join(context.Background(), "g", "forwarder-7", store.Filter{}, time.Hour))
	html := s.get("/")
	for _, want := range []string{
		"<title>Shop</title>", "<dt>Pending</dt><dd>1</dd>", "<dt>Dead</dt><dd>3</dd>", "open since 20", "server answered 422", "forwarder-7", "alive",
		"3 deliveries gave up", "outbox dead list", "connection &lt;refused&gt;", "&lt;script&gt;alert(1)&lt;/script&gt;", `<html lang="en">`,
		`href="?destination=kafka%3a%2f%2forders#dead"`,
	} {
		require.Contains(t, html, want)
	}
	require.NotContains(t, html, "very secret", "no payload")
	require.NotContains(t, html, "data-action", "no token, no buttons")
	require.NotRegexp(t, `(?i)(src|href)="?(https?:)?//`, html, "nothing from elsewhere")
	require.NotRegexp(t, `(?i)<script>|\son\w+=|\sstyle=`, html, "the content security policy refuses it")
	require.Contains(t, html, s.get("/parts")[:20])

	r := s.do(http.MethodGet, "/", "")
	require.Contains(t, r.Header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'")
	require.Equal(t, "nosniff", r.Header.Get("X-Content-Type-Options"))

	var snapshot monitor.Snapshot
	require.NoError(t, json.Unmarshal([]byte(s.get("/status.json")), &snapshot))
	require.Equal(t, int64(3), snapshot.Totals.Dead)
	var history struct{ Time, Backlog, In, Out []float64 }
	require.NoError(t, json.Unmarshal([]byte(s.get("/history.json")), &history))
	require.Len(t, history.Time, 1)
	require.Equal(t, []float64{1}, history.Backlog)
	require.Equal(t, http.StatusNotFound, s.do(http.MethodGet, "/other", "").StatusCode)
	require.Equal(t, http.StatusBadRequest, s.do(http.MethodGet, "/?after=x", "").StatusCode)
}

// Every file that the page asks for is there.
func TestPageHasItsFiles(t *testing.T) {
	t.Parallel()
	s := open(t, testdb.SQLite(t), statuspage.Config{})
	names := regexp.MustCompile(`(?:src|href)="(static/[^"]+)"`).FindAllStringSubmatch(s.get("/"), -1)
	require.Len(t, names, 5)
	for _, m := range names {
		require.NotEmpty(t, s.get("/"+m[1]), m[1])
	}
	require.Contains(t, s.get("/static/uplot/uPlot.iife.min.js"), "uPlot (v1.6.32)")
	require.Contains(t, s.get("/static/uplot/LICENSE"), "MIT License")
	for id := range strings.SplitSeq("confirm question cancel reason reason-label parts state plot-backlog plot-rates", " ") {
		require.Contains(t, s.get("/"), `id="`+id+`"`, "the script looks for it")
	}
}

func TestPageListsDeadLetters(t *testing.T) {
	t.Parallel()
	db := testdb.SQLite(t)
	s := open(t, db, statuspage.Config{})
	bury(t, db, "60")
	first := s.get("/")
	require.Equal(t, 50, strings.Count(first, "server answered 422"))
	more := regexp.MustCompile(`href="(\?[^"]*)#dead">The next ones`).FindStringSubmatch(first)
	require.NotNil(t, more)
	second := s.get("/" + strings.ReplaceAll(more[1], "&amp;", "&"))
	require.Equal(t, 10, strings.Count(second, "server answered 422"))
	require.NotContains(t, second, "The next ones")
	require.Equal(t, 0, strings.Count(s.get("/?tenant=zoo"), "server answered 422"))
	require.Equal(t, 50, strings.Count(s.get("/?tenant=acme&destination=kafka://orders"), "server answered 422"))
}

func TestPageWithoutDatabase(t *testing.T) {
	t.Parallel()
	db := testdb.SQLite(t)
	s := open(t, db, statuspage.Config{})
	require.NoError(t, db.Close())
	html := s.get("/")
	require.Contains(t, html, "The database does not answer.")
	require.NotContains(t, html, "closed</strong>")
	r := s.do(http.MethodGet, "/status.json", "")
	require.Equal(t, http.StatusServiceUnavailable, r.StatusCode)
	require.NotContains(t, r.Body, "sql:", "the cause may name hosts")
}

func TestNewRefusesAShortToken(t *testing.T) {
	t.Parallel()
	_, err := statuspage.New(nil, statuspage.Config{Token: "hunter2"}, nil)
	require.ErrorContains(t, err, "Token has 7 bytes, want at least 16")
	require.NotContains(t, err.Error(), "hunter2")
}

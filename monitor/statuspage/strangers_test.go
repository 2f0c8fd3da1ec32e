package statuspage_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/monitor"
	"github.com/bento-outbox/watermill-outbox/monitor/statuspage"
)

// logged keeps what is logged, at any level.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) add(msg string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, msg)
}

func (l *logged) Error(msg string, _ error, _ watermill.LogFields) { l.add(msg) }
func (l *logged) Info(msg string, _ watermill.LogFields)           { l.add(msg) }
func (l *logged) Debug(msg string, _ watermill.LogFields)          { l.add(msg) }
func (l *logged) Trace(msg string, _ watermill.LogFields)          { l.add(msg) }
func (l *logged) With(watermill.LogFields) watermill.LoggerAdapter { return l }

// What cannot be a name is refused before the database is asked, here one that is closed.
func TestWhatCannotBeANameIsRefused(t *testing.T) {
	t.Parallel()
	db := testdb.SQLite(t)
	m, err := monitor.New(t.Context(), db, monitor.Config{}, nil)
	require.NoError(t, err)
	log := &logged{}
	h, err := statuspage.New(m, statuspage.Config{Hosts: []string{"status.example"}, Token: token}, log)
	require.NoError(t, err)
	s := site{t, nil, http.StripPrefix("/outbox", h)}
	require.NoError(t, db.Close())

	long := strings.Repeat("x", 1025)
	for _, query := range []string{
		"destination=a%00b", "tenant=a%00b", "topic=%ff", "after=1&after_target=%00", "destination=" + long, "topic=" + long, "destination=%zz", "a;b",
		"after=1e9", "after=99999999999999999999",
	} {
		for _, path := range []string{"/?", "/parts?"} {
			require.Equal(t, http.StatusBadRequest, s.do(http.MethodGet, path+query, "").StatusCode, query)
		}
	}
	for _, body := range []string{
		`{"destination":"a\u0000b"}`, `{"tenant":"a\u0000b"}`, `{"topic":"` + long + `"}`, `{"seq":1,"target":"\u0000"}`,
	} {
		status, _, fault := s.act("replay", body)
		require.Equal(t, http.StatusBadRequest, status, body)
		require.NotContains(t, fault, "\x00")
	}
	for _, body := range []string{
		`{"kind":"tenant","name":"a\u0000b"}`, `{"kind":"tenant","name":"` + long + `"}`, `{"kind":"tenant","name":"a","reason":"\u0000"}`,
	} {
		status, _, _ := s.act("pause", body)
		require.Equal(t, http.StatusBadRequest, status, body)
	}
	require.Empty(t, log.lines)
	require.Contains(t, s.get("/?destination=a%20b"), "The database does not answer")
}

// However often strangers ask, with the database down and without a token, a line of each kind is logged.
func TestStrangersCannotFillTheLog(t *testing.T) {
	t.Parallel()
	db := testdb.SQLite(t)
	m, err := monitor.New(t.Context(), db, monitor.Config{}, nil)
	require.NoError(t, err)
	log := &logged{}
	h, err := statuspage.New(m, statuspage.Config{Hosts: []string{"status.example"}, Token: token}, log)
	require.NoError(t, err)
	s := site{t, nil, http.StripPrefix("/outbox", h)}
	require.NoError(t, db.Close())
	start := time.Now()
	for range 50 {
		for _, path := range []string{"/", "/parts", "/status.json", "/history.json", "/?destination=a%00b", "/nothing"} {
			s.do(http.MethodGet, path, "")
		}
		require.Equal(t, http.StatusUnauthorized, s.do(http.MethodPost, "/actions/discard", `{"all":true}`).StatusCode)
	}
	require.Contains(t, log.lines, "Cannot show the outbox")
	require.Contains(t, log.lines, "Refused an action without the right token")
	require.LessOrEqual(t, len(log.lines), 2*(1+int(time.Since(start)/time.Minute)))
}

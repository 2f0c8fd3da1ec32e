package statuspage_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/monitor"
	"github.com/bento-outbox/watermill-outbox/monitor/statuspage"
)

// A web site that makes its own name one of this machine reads nothing and changes nothing.
func TestPageAnswersByItsOwnNames(t *testing.T) {
	t.Parallel()
	s := open(t, testdb.SQLite(t), statuspage.Config{Token: token, Hosts: []string{"Shop.Internal"}})
	for _, test := range []struct {
		host string
		want int
	}{
		{"localhost", http.StatusOK},
		{"localhost:9090", http.StatusOK},
		{"outbox.localhost:9090", http.StatusOK},
		{"127.0.0.1:9090", http.StatusOK},
		{"10.1.2.3", http.StatusOK},
		{"[::1]:9090", http.StatusOK},
		{"[::1]", http.StatusOK},
		{"shop.internal:9090", http.StatusOK},
		{"SHOP.INTERNAL.", http.StatusOK},
		{"", http.StatusForbidden},
		{"evil.example", http.StatusForbidden},
		{"evil.example:9090", http.StatusForbidden},
		{"evilshop.internal", http.StatusForbidden},
		{"a.shop.internal", http.StatusForbidden},
		{"localhost.evil.example", http.StatusForbidden},
		{"127.0.0.1.evil.example", http.StatusForbidden},
	} {
		for _, path := range []string{"/", "/parts", "/status.json", "/history.json", "/static/page.js"} {
			r := httptest.NewRequest(http.MethodGet, "/outbox"+path, nil)
			r.Host = test.host
			w := httptest.NewRecorder()
			s.h.ServeHTTP(w, r)
			require.Equal(t, test.want, w.Code, "%q %s", test.host, path)
		}
		r := s.from("10.0.0.1:1", token, test.host)
		require.Equal(t, test.want == http.StatusForbidden, r == http.StatusForbidden, test.host)
	}
	require.Contains(t, s.do(http.MethodGet, "/", "").Body, "<!doctype html>")

	anybody := open(t, testdb.SQLite(t), statuspage.Config{Hosts: []string{statuspage.AnyHost}})
	r := httptest.NewRequest(http.MethodGet, "http://whatever.example/outbox/", nil)
	w := httptest.NewRecorder()
	anybody.h.ServeHTTP(w, r)
	require.Equal(t, http.StatusOK, w.Code)
}

func TestNewRefusesWrongHosts(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "http://shop.internal", "shop.internal:9090", "*.internal", "shop internal"} {
		_, err := statuspage.New(nil, statuspage.Config{Hosts: []string{name}}, nil)
		require.ErrorContains(t, err, "is not a host name")
	}
}

// from asks for an action that is wrong in itself, so that 400 is the answer to the right token.
func (s site) from(address, token, host string) int {
	r := httptest.NewRequest(http.MethodPost, "/outbox/actions/replay", strings.NewReader(`{}`))
	r.Host, r.RemoteAddr = host, address
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	if w.Code == http.StatusTooManyRequests && w.Header().Get("Retry-After") == "" {
		return 0
	}
	return w.Code
}

// Who guesses has to wait, even for the right token; others do not.
func TestGuessesAreLimited(t *testing.T) {
	t.Parallel()
	m, err := monitor.New(t.Context(), testdb.SQLite(t), monitor.Config{}, nil)
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		h, err := statuspage.New(m, statuspage.Config{Token: token}, nil)
		require.NoError(t, err)
		s := site{t, nil, http.StripPrefix("/outbox", h)}
		try := func(address, token string) int { return s.from(address, token, "localhost") }
		for range 10 {
			require.Equal(t, http.StatusUnauthorized, try("10.0.0.1:1000", "wrong"))
			require.Equal(t, http.StatusUnauthorized, try("[2001:db8::1]:1000", "wrong"))
		}
		require.Equal(t, http.StatusTooManyRequests, try("10.0.0.1:1001", "wrong"))
		require.Equal(t, http.StatusTooManyRequests, try("10.0.0.1:1002", token))
		require.Equal(t, http.StatusTooManyRequests, try("[2001:db8::2]:1000", token), "the same customer")
		require.Equal(t, http.StatusBadRequest, try("10.0.0.2:1000", token))
		require.Equal(t, http.StatusBadRequest, try("[2001:db8:0:1::1]:1000", token))
		<-time.After(time.Minute)
		require.Equal(t, http.StatusBadRequest, try("10.0.0.1:1003", token))

		// Whoever has many addresses does not fill the memory, and locks out nobody else.
		for i := range 5000 {
			require.Equal(t, http.StatusUnauthorized, try(fmt.Sprintf("10.1.%d.%d:1000", i/256, i%256), "wrong"))
		}
		require.Equal(t, http.StatusUnauthorized, try("10.9.9.9:1000", "wrong"))
		require.Equal(t, http.StatusBadRequest, try("10.9.9.9:1000", token))
	})
}

// Requests that come together get no more guesses than one after the other.
func TestGuessesAreCountedAtOnce(t *testing.T) {
	t.Parallel()
	s := open(t, testdb.SQLite(t), statuspage.Config{Token: token})
	var group sync.WaitGroup
	var looked atomic.Int64
	for range 100 {
		group.Go(func() {
			if s.from("10.0.0.1:1000", "wrong", "localhost") == http.StatusUnauthorized {
				looked.Add(1)
			}
		})
	}
	group.Wait()
	require.EqualValues(t, 10, looked.Load())
}

// Behind a proxy all people have one address. Somebody who guesses there does not lock out a tab that was unlocked before.
func TestGuessesDoNotLockOutWhoIsIn(t *testing.T) {
	t.Parallel()
	m, err := monitor.New(t.Context(), testdb.SQLite(t), monitor.Config{}, nil)
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		h, err := statuspage.New(m, statuspage.Config{Token: token}, nil)
		require.NoError(t, err)
		try := func(action, body, bearer string) (int, string) {
			r := httptest.NewRequest(http.MethodPost, "http://localhost/actions/"+action, strings.NewReader(body))
			r.Header.Set("Authorization", "Bearer "+bearer)
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			var answer struct{ Session string }
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
			return w.Code, answer.Session
		}
		replay := func(bearer string) int {
			status, issued := try("replay", `{"seq":7,"target":"shop://orders"}`, bearer)
			require.Empty(t, issued)
			return status
		}
		status, session := try("unlock", `{}`, token)
		require.Equal(t, http.StatusOK, status)
		require.NotEmpty(t, session)
		require.NotContains(t, session, token)
		status, another := try("unlock", `{}`, session)
		require.Equal(t, http.StatusOK, status)
		require.Empty(t, another, "a session does not prolong itself")
		forged := []string{"", ".", "9" + session, session + "A", "9999999999." + strings.SplitN(session, ".", 2)[1]}
		for i := range 10 {
			require.Equal(t, http.StatusUnauthorized, replay(forged[i%len(forged)]), "a forged session is a guess")
		}
		require.Equal(t, http.StatusOK, replay(session))
		for _, guess := range append(forged, "wrong", token) {
			require.Equal(t, http.StatusTooManyRequests, replay(guess), guess)
		}
		require.Equal(t, http.StatusOK, replay(session))

		<-time.After(12 * time.Hour)
		require.Equal(t, http.StatusUnauthorized, replay(session), "it has ended")
		require.Equal(t, http.StatusOK, replay(token))
	})
}

// Requests by a wrong name are told of once a minute, however long the name is.
func TestRefusedNamesDoNotFillTheLog(t *testing.T) {
	t.Parallel()
	m, err := monitor.New(t.Context(), testdb.SQLite(t), monitor.Config{}, nil)
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		log := watermill.NewCaptureLogger()
		h, err := statuspage.New(m, statuspage.Config{}, log)
		require.NoError(t, err)
		ask := func() []watermill.CapturedMessage {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Host = strings.Repeat("x", 10_000)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Equal(t, http.StatusForbidden, w.Code)
			return log.Captured()[watermill.InfoLogLevel]
		}
		for range 100 {
			require.Len(t, ask(), 1)
		}
		require.Len(t, ask()[0].Fields["host"], 253)
		<-time.After(time.Minute)
		require.Len(t, ask(), 2)
	})
}

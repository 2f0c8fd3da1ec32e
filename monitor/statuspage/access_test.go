package statuspage_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
		require.ErrorContains(t, err, "is no host name")
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

		// Whoever has many addresses does not fill the memory, and is limited too.
		for i := range 5000 {
			status := try(fmt.Sprintf("10.1.%d.%d:1000", i/256, i%256), "wrong")
			want := http.StatusUnauthorized
			if i >= 4096+10 {
				want = http.StatusTooManyRequests
			}
			require.Equal(t, want, status, i)
		}
		<-time.After(time.Minute)
		require.Equal(t, http.StatusBadRequest, try("10.9.9.9:1000", token))
	})
}

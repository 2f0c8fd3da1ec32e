package main

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// market is a destination over HTTP that can be slow, refuse, and go away.
type market struct {
	t       *testing.T
	address string
	server  *http.Server
	closed  chan struct{}
	working sync.WaitGroup

	mu     sync.Mutex
	status int
	slow   chan struct{} // an answer waits for it, or for pace
	pace   time.Duration
	came   []string // the outbox_id of each request
}

func newMarket(t *testing.T) *market {
	m := &market{t: t, status: http.StatusOK, address: "127.0.0.1:0"}
	m.open()
	t.Cleanup(func() { m.close() })
	return m
}

func (m *market) open() {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", m.address)
	require.NoError(m.t, err)
	m.address = l.Addr().String()
	m.closed = make(chan struct{})
	m.server = &http.Server{Handler: m, ReadHeaderTimeout: time.Minute}
	go func(s *http.Server) { _ = s.Serve(l) }(m.server)
}

// close closes it and returns when nothing is worked on any more. It may be opened again at the same address.
func (m *market) close() {
	_ = m.server.Close()
	close(m.closed)
	m.working.Wait()
}

// answer sets the status of answers, how long each takes, and what it waits for besides.
func (m *market) answer(status int, pace time.Duration, slow chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status, m.pace, m.slow = status, pace, slow
}

func (m *market) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.working.Add(1)
	defer m.working.Done()
	m.mu.Lock()
	status, pace, slow := m.status, m.pace, m.slow
	m.came = append(m.came, r.Header.Get("Idempotency-Key"))
	m.mu.Unlock()
	if slow != nil {
		select {
		case <-slow:
		case <-r.Context().Done():
		case <-m.closed:
		}
	}
	if pace > 0 {
		<-time.After(pace)
	}
	w.WriteHeader(status)
}

func (m *market) ids() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.came)
}

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/config"
)

// health answers over HTTP how a forwarder does. A nil health answers nothing.
type health struct {
	http     *http.Server
	listener net.Listener
	done     chan struct{}
	log      log

	mu     sync.Mutex
	target database
	db     *sql.DB         // nil before it was opened
	joined <-chan struct{} // nil before the forwarder was made
	ends   bool

	asked  time.Time // when the database was asked
	answer error     // what it said
}

// listen takes the port, so that a fault of it is known before anything is forwarded.
func listen(c config.Config, log log) (*health, error) {
	address, err := c.MetricsAddress()
	if err != nil || address == "" {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		var network *net.OpError
		if errors.As(err, &network) {
			err = network.Err
		}
		return nil, fmt.Errorf("cannot listen at %s: %w; set metrics_port (METRICS_PORT) to a port that is free, or stop what uses it", address, err)
	}
	s := &health{listener: l, done: make(chan struct{}), log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", s.readyz)
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(l) // ends with Close
	}()
	log.Info("Serving /healthz and /readyz", slog.String("address", l.Addr().String()))
	return s, nil
}

// watch makes the database one that has to answer.
func (s *health) watch(target database, db *sql.DB) {
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.target, s.db = target, db
	}
}

// joins makes the server ready when joined is closed.
func (s *health) joins(joined <-chan struct{}) {
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.joined = joined
	}
}

// stopping makes the server unready for good.
func (s *health) stopping() {
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ends = true
	}
}

func (s *health) close() {
	if s != nil {
		_ = s.http.Close()
		<-s.done
	}
}

func (s *health) readyz(w http.ResponseWriter, r *http.Request) {
	if err := s.ready(r.Context()); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ready\n")
}

const (
	readyAnswer = time.Second     // for how long an answer of the database holds
	readyWait   = 3 * time.Second // for an answer
)

// ready says what a forwarder lacks to forward.
func (s *health) ready(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ends {
		return errors.New("stopping")
	}
	if s.db == nil {
		return errors.New("not connected to the database yet")
	}
	select {
	case <-s.joined: // never while it is nil
	default:
		return errors.New("not a member of its group of forwarders yet")
	}
	if time.Since(s.asked) < readyAnswer {
		return s.answer
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyWait)
	defer cancel()
	s.answer = s.target.explain(s.db.PingContext(ctx))
	s.asked = time.Now()
	return s.answer
}

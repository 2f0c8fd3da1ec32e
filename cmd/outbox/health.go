package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/monitor"
)

// health answers over HTTP how a forwarder does. A nil health answers nothing.
type health struct {
	http *http.Server
	done chan struct{}
	mux  *http.ServeMux

	mu        sync.Mutex
	database  monitor.Check
	forwarder *forwarder.Forwarder // nil before it was made
	ends      bool
}

// readyWait is how long the database may take to answer.
const readyWait = 3 * time.Second

// listen takes the port, so that a fault of it is known before anything is forwarded.
func (s *session) listen() (*health, error) {
	address := s.config.MetricsAddress()
	if address == "" {
		return nil, nil
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		var network *net.OpError
		if errors.As(err, &network) {
			err = network.Err
		}
		return nil, fmt.Errorf("cannot listen at %s: %w; set metrics_port (METRICS_PORT) to a port that is free, or stop what uses it", address, err)
	}
	h := &health{done: make(chan struct{}), mux: http.NewServeMux()}
	h.database = monitor.Check{Name: "database", Run: func(context.Context) error { return errors.New("not connected yet") }}
	h.mux.Handle("GET /healthz", monitor.Live())
	h.mux.Handle("GET /readyz", monitor.Ready(readyWait,
		monitor.Check{Name: "forwarder", Run: h.forwards},
		monitor.Check{Name: "database", Run: func(ctx context.Context) error { return h.check().Run(ctx) }},
	))
	h.http = newServer(h.mux, s.log)
	go func() {
		defer close(h.done)
		_ = h.http.Serve(l) // ends with Close
	}()
	pages := []string{"/healthz", "/readyz"}
	if s.config.Performance {
		pages = append(pages, "/", "/metrics", "/status.json", "/history.json")
	}
	s.log.Info("Serving /healthz and more over HTTP", slog.String("address", l.Addr().String()), slog.Any("pages", pages), slog.Bool("actions", s.config.Performance && s.config.ActionToken != ""))
	return h, nil
}

// watch makes a check that of the database.
func (h *health) watch(database monitor.Check) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.database = database
}

func (h *health) check() monitor.Check {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.database
}

// has makes the answer that of a forwarder too.
func (h *health) has(f *forwarder.Forwarder) {
	if h != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.forwarder = f
	}
}

// stopping makes the forwarder unready for good.
func (h *health) stopping() {
	if h != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.ends = true
	}
}

// forwards says what the forwarder lacks to forward.
func (h *health) forwards(ctx context.Context) error {
	h.mu.Lock()
	f, ends := h.forwarder, h.ends
	h.mu.Unlock()
	switch {
	case ends:
		return errors.New("is stopping")
	case f == nil:
		return errors.New("is no member of its group yet")
	}
	return f.Ready(ctx)
}

func (h *health) close() {
	if h != nil {
		_ = h.http.Close()
		<-h.done
	}
}

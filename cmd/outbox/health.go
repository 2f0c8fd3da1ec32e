package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/monitor"
)

// health serves the state of a forwarder over HTTP.
type health struct {
	mux       *http.ServeMux
	close     func()
	database  atomic.Pointer[monitor.Check]       // nil until it is connected
	forwarder atomic.Pointer[forwarder.Forwarder] // nil until it joins its group
	stopping  atomic.Bool
}

// readyWait is how long the database may take to answer.
const readyWait = 3 * time.Second

// serveHealth begins to serve at metrics_port, so that a port in use is found before anything is forwarded. Without metrics_port nothing is served.
func (s *session) serveHealth() (*health, error) {
	h := &health{mux: http.NewServeMux(), close: func() {}}
	address := s.config.MetricsAddress()
	if address == "" {
		return h, nil
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		var network *net.OpError
		if errors.As(err, &network) {
			err = network.Err
		}
		return nil, fmt.Errorf("cannot listen at %s: %w; set metrics_port (METRICS_PORT) to a free port, or stop what uses this one", address, err)
	}
	h.mux.Handle("GET /healthz", monitor.Live())
	h.mux.Handle("GET /readyz", monitor.Ready(readyWait,
		monitor.Check{Name: "forwarder", Run: h.checkForwarder}, monitor.Check{Name: "database", Run: h.checkDatabase}))
	server, done := newServer(h.mux, s.log), make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // ends with Close
	}()
	h.close = func() {
		_ = server.Close()
		<-done
	}
	pages := []string{"/healthz", "/readyz"}
	if s.config.Performance {
		pages = append(pages, "/", "/metrics", "/status.json", "/history.json")
	}
	s.log.Info("Serving HTTP", slog.String("address", l.Addr().String()), slog.Any("pages", pages),
		slog.Bool("actions", s.config.Performance && s.config.ActionToken != ""))
	return h, nil
}

func (h *health) checkDatabase(ctx context.Context) error {
	if check := h.database.Load(); check != nil {
		return check.Run(ctx)
	}
	return errors.New("is not connected yet")
}

func (h *health) checkForwarder(ctx context.Context) error {
	f := h.forwarder.Load()
	switch {
	case h.stopping.Load():
		return errors.New("is stopping")
	case f == nil:
		return errors.New("is not a member of its group yet")
	}
	return f.Ready(ctx)
}

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/monitor"
	"github.com/bento-outbox/watermill-outbox/monitor/statuspage"
)

// joining is how long alerts wait for a starting forwarder to join its group.
const joining = 10 * time.Second

// observe lets h check the database. Unless monitoring is off, it also serves metrics and the status page, and logs alerts until stop is called. The
// hooks are for the forwarder.
func (s *session) observe(ctx context.Context, h *health, target database, db *sql.DB) (hooks forwarder.Hooks, stop func(), err error) {
	none := func() {}
	if s.config.MetricsAddress() == "" {
		return forwarder.Hooks{}, none, nil
	}
	watch, err := monitor.New(ctx, db, monitor.Config{
		Schema: target.tables, Thresholds: s.config.Thresholds(), DefaultPublisher: s.config.StandardPublisher(),
	}, s.log.watermill)
	if err != nil {
		return forwarder.Hooks{}, none, target.explain(err)
	}
	check := watch.Database()
	h.database.Store(&check)
	if !s.config.Performance {
		return forwarder.Hooks{}, none, nil
	}
	registry := prometheus.NewRegistry()
	err = errors.Join(registry.Register(watch.Collector()), registry.Register(collectors.NewGoCollector()),
		registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})))
	metrics, other := monitor.NewMetrics(registry)
	if err := errors.Join(err, other); err != nil {
		return forwarder.Hooks{}, none, fmt.Errorf("cannot register metrics: %w", err)
	}
	page, err := statuspage.New(watch, statuspage.Config{Token: s.config.ActionToken, Hosts: s.config.PageHosts()}, s.log.watermill)
	if err != nil {
		return forwarder.Hooks{}, none, err
	}
	h.mux.Handle("/", page)
	h.mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	serving, first := make(chan struct{}), sync.Once{}
	stop = background(context.WithoutCancel(ctx), func(ctx context.Context) {
		// Before this forwarder owns slots, a snapshot would find no forwarder alive. If it cannot join for long, that deserves an alert.
		select {
		case <-serving:
		case <-ctx.Done():
			return
		case <-time.After(joining):
		}
		_, _ = watch.Take(ctx) // Watch would reuse an earlier snapshot; it logs errors itself
		watch.Watch(ctx)
	})
	hooks = metrics.Hooks()
	count := hooks.Slots
	hooks.Slots = func(owned int) {
		count(owned)
		first.Do(func() { close(serving) })
	}
	return hooks, stop, nil
}

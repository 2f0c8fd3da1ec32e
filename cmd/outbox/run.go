package main

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/alecthomas/kong"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/router"
)

type runCommand struct {
	Settings kong.Plugins `embed:""`
	Once     bool         `help:"Forward pending events, then exit. Deliveries waiting for a retry stay."`
}

func newRunCommand() runCommand { return runCommand{Settings: runFlags()} }

// Run forwards until a signal arrives, or with --once until nothing is due.
func (c *runCommand) Run(s *session) error {
	var running atomic.Pointer[forwarder.Forwarder]
	ctx, stop := interruptible(context.Background(), func() { s.abort(running.Load()) })
	defer stop()
	d, err := s.prepare(ctx)
	defer d.close()
	if err != nil {
		return err
	}
	takeStandardLog(s.log)
	health, err := s.serveHealth()
	if err != nil {
		return err
	}
	defer health.close()
	db, err := d.target.open(ctx, false)
	if err != nil {
		return d.target.explain(err)
	}
	defer db.Close()
	cfg := s.config.Forwarder()
	hooks, unwatch, err := s.observe(ctx, health, d.target, db)
	if err != nil {
		return err
	}
	defer unwatch()
	provider, flush, err := s.tracing(ctx)
	if err != nil {
		return err
	}
	defer flush()
	cfg.TracerProvider = provider
	cfg.Subscriber.Hooks = hooks
	cfg.Subscriber.Schema = d.target.tables
	live := router.NewLive(d.routes.table)
	cfg.Routes = live
	f, err := forwarder.New(db, d.publishers, cfg, s.log.watermill)
	if err != nil {
		return d.target.explain(err)
	}
	running.Store(f)
	s.log.Info("Forwarding", s.summary(d)...)
	quiet := context.AfterFunc(ctx, func() {
		health.stopping.Store(true)
		s.log.Info("Stopping after in-flight deliveries finish; press Ctrl-C again to exit now")
	})
	defer quiet()
	forward := func(ctx context.Context) error { return f.Drain(ctx) }
	if !c.Once {
		forward = func(ctx context.Context) error { return s.serve(ctx, f, d, live, health, db) }
	}
	err = forward(ctx)
	switch {
	case ctx.Err() != nil && c.Once:
		return errors.New("interrupted before everything was forwarded; outcomes of in-flight deliveries are stored, and the rest stays pending")
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		err = nil
	}
	if err != nil {
		return d.target.explain(err)
	}
	s.log.Info("Stopped; outcomes of in-flight deliveries are stored")
	return nil
}

// abortWait bounds how long handing over the slots delays the exit after a second interrupt.
const abortWait = 3 * time.Second

// abort hands over the slots of f before the process exits. f may be nil.
func (s *session) abort(f *forwarder.Forwarder) {
	s.log.Warn("Interrupted again, exiting now; in-flight deliveries will be sent again")
	if f == nil {
		return
	}
	handedOver := make(chan error, 1)
	go func() { handedOver <- f.Abort() }()
	select {
	case err := <-handedOver:
		if err == nil {
			s.log.Info("Handed over the slots")
			return
		}
		s.log.Error("Cannot hand over the slots; other forwarders take them when the lease ends", slog.Duration("lease", s.config.Lease), slog.Any("error", err))
	case <-time.After(abortWait):
		s.log.Error("Handing over the slots took too long; other forwarders take them when the lease ends", slog.Duration("lease", s.config.Lease))
	}
}

// serve forwards until ctx ends. Meanwhile it reloads the routes and deletes old finished events.
func (s *session) serve(ctx context.Context, f *forwarder.Forwarder, d daemon, live *router.Live, health *health, db *sql.DB) error {
	stopCleaning, err := s.clean(ctx, d.target, db)
	if err != nil {
		return err
	}
	defer stopCleaning()
	defer background(ctx, func(ctx context.Context) { d.routes.reload(ctx, live, s.log) })()
	health.forwarder.Store(f)
	return f.Run(ctx)
}

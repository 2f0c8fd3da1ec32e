package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/bento-outbox/watermill-outbox/router"
)

// routesInterval is the time between two checks whether the routes file has changed. The file is read and compared, which also works if it is replaced
// by a link, as in Kubernetes.
const routesInterval = 2 * time.Second

// routes are the static routes of run.
type routes struct {
	file   string // empty for none
	text   []byte // content of the file
	config router.Config
	table  *router.Table
}

// routes reads and compiles the routes file.
func (s *session) routes() routes {
	r := routes{file: s.config.Routes, config: s.routing()}
	var err error
	if r.file != "" {
		r.text, err = s.readRouting(r.file)
		if err != nil {
			s.faults.Add("%s: %s: %w", s.place("routes"), r.file, err)
			return r
		}
	}
	if r.table, err = r.compile(r.text); err != nil {
		s.faults.Add("%s: %s: %w", s.place("routes"), r.file, err)
	}
	return r
}

// compile returns the table of a routes file. Its destinations must exist.
func (r routes) compile(text []byte) (*router.Table, error) {
	cfg := r.config
	if r.file != "" {
		var err error
		if cfg.Routes, err = router.ParseRoutes(text); err != nil {
			return nil, err
		}
		if err = cfg.Routes.Validate(cfg); err != nil {
			return nil, err
		}
	}
	cfg.Publishers = nil // an unknown destination in an event's own routing fails that delivery alone
	return router.NewTable(cfg)
}

// reload replaces the table when the file changes, and on SIGHUP, until ctx ends. A faulty file is logged and leaves the table as it is.
func (r routes) reload(ctx context.Context, live *router.Live, log log) {
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGHUP)
	defer signal.Stop(hangUp)
	tick := time.NewTicker(routesInterval)
	defer tick.Stop()
	unreadable := false
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-hangUp:
			asked = true
		case <-tick.C:
		}
		if r.file == "" || r.file == "-" {
			if asked {
				log.Info("Received SIGHUP, but there is no routes file to reload")
			}
			continue
		}
		text, err := (*session)(nil).readRouting(r.file)
		if err != nil {
			if asked || !unreadable {
				log.Error("Cannot read the routes file; keeping the current routes", slog.String("file", r.file), slog.Any("error", err))
			}
			unreadable = true
			continue
		}
		unreadable = false
		if bytes.Equal(text, r.text) && !asked {
			continue
		}
		r.text = text
		table, err := r.compile(text)
		if err != nil {
			log.Error("The routes file has faults; keeping the current routes", slog.String("file", r.file), slog.String("error", oneLine(err.Error())))
			continue
		}
		live.Store(table)
		log.Info("Reloaded the routes", slog.String("file", r.file))
	}
}

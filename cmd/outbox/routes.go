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

// routesInterval is how often the routes file is read to see whether it has changed. That needs nothing of the file system, so that it works
// where a file is replaced by a link, as in Kubernetes.
const routesInterval = 2 * time.Second

// routes are the static routes of run.
type routes struct {
	file   string // empty for none
	text   []byte // of the file when it was read
	config router.Config
	table  *router.Table
}

// routes reads and compiles the routes file. An event whose own routing names a destination that is not there is dead for that one alone.
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

// compile returns the table of a routes file, whose destinations must be there.
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
	cfg.Publishers = nil // those of events
	return router.NewTable(cfg)
}

// reload exchanges the table when the file has changed, and on SIGHUP, until ctx ends. A file that is wrong leaves the table that is in use.
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
				log.Info("SIGHUP reloads the routes file, and there is none")
			}
			continue
		}
		text, err := (*session)(nil).readRouting(r.file)
		if err != nil {
			if asked || !unreadable {
				log.Error("Cannot read the routes file; the routes stay as they are", slog.String("file", r.file), slog.Any("error", err))
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
			log.Error("The routes file is wrong; the routes stay as they are", slog.String("file", r.file), slog.String("error", oneLine(err.Error())))
			continue
		}
		live.Store(table)
		log.Info("Reloaded the routes", slog.String("file", r.file))
	}
}

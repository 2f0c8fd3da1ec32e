package main

import (
	"context"
	"database/sql"
	"log/slog"
	"sync"

	"github.com/bento-outbox/watermill-outbox/forwarder"
)

// clean removes finished events where a time for it is set, until what it returns is called.
func (s *session) clean(ctx context.Context, target database, db *sql.DB) (func(), error) {
	cfg, on := s.config.Cleaner()
	if !on {
		s.log.Info("Finished events are kept for ever, for clean-up is off; cleanup (BENTO_OUTBOX_CLEANUP=true) removes those older than retention every night")
		return func() {}, nil
	}
	cfg.Schema = target.tables
	cleaner, err := forwarder.NewCleaner(ctx, db, cfg, s.log.watermill)
	if err != nil {
		return nil, target.explain(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var cleaning sync.WaitGroup
	cleaning.Go(func() {
		if err := cleaner.Run(ctx); err != nil {
			s.log.Error("Clean-up has ended", slog.Any("error", err))
		}
	})
	return func() {
		cancel()
		cleaning.Wait()
	}, nil
}

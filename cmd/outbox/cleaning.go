package main

import (
	"context"
	"database/sql"
	"log/slog"

	"github.com/bento-outbox/watermill-outbox/admin"
)

// clean deletes old finished events at the times that are set, until the function it returns is called.
func (s *session) clean(ctx context.Context, target database, db *sql.DB) (stop func(), err error) {
	cfg, on := s.config.Cleaner()
	if !on {
		s.log.Info("Clean-up is off: finished events are kept; set cleanup (BENTO_OUTBOX_CLEANUP=true) to delete those older than retention every night")
		return func() {}, nil
	}
	cfg.Schema = target.tables
	cleaner, err := admin.NewCleaner(ctx, db, cfg, s.log.watermill)
	if err != nil {
		return nil, target.explain(err)
	}
	return background(ctx, func(ctx context.Context) {
		if err := cleaner.Run(ctx); err != nil {
			s.log.Error("Clean-up has ended", slog.Any("error", err))
		}
	}), nil
}

package admin

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// Cleaner removes finished events; it never removes one that is pending, waiting or held. Among the cleaners of all processes one works at a time. It is
// safe for concurrent use.
type Cleaner struct {
	store  *store.Store
	cfg    CleanerConfig
	at     time.Duration // since midnight
	logger watermill.LoggerAdapter
	owner  string
}

// cleanerLease is how long other cleaners wait for one that died, in addition to the time for a batch.
const cleanerLease = 30 * time.Second

// NewCleaner checks cfg and the tables. The caller closes db, after Run and Once have returned. A nil logger discards logs.
func NewCleaner(ctx context.Context, db *sql.DB, cfg CleanerConfig, logger watermill.LoggerAdapter) (*Cleaner, error) {
	if db == nil {
		return nil, errors.New("outbox cleaner: database is nil")
	}
	cfg, at, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("outbox cleaner: %w", err)
	}
	st, err := store.Open(ctx, db, cfg.Schema)
	if err != nil {
		return nil, fmt.Errorf("outbox cleaner: %w", err)
	}
	if logger == nil {
		logger = watermill.NopLogger{}
	}
	return &Cleaner{store: st, cfg: cfg, at: at, logger: logger, owner: cleanerName()}, nil
}

// cleanerName returns the name of this process, for people.
func cleanerName() string {
	b := make([]byte, 4)
	_, _ = rand.Read(b)
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("%s, process %d (%s)", host, os.Getpid(), hex.EncodeToString(b))
}

// Once removes all events that are old enough, in batches, and returns what it removed, also after an error. The error wraps [ErrCleanupRunning] while
// another cleaner works.
func (c *Cleaner) Once(ctx context.Context) (Cleaned, error) {
	began := time.Now()
	now, floor, err := c.store.BeginCleanup(ctx, c.owner, cleanerLease+c.cfg.QueryTimeout)
	if err != nil {
		return Cleaned{}, fmt.Errorf("outbox cleaner: %w", err)
	}
	r := cleaning{Cleaner: c, owner: c.owner, now: now, floor: floor}
	err = r.run(ctx)
	r.result.Took = time.Since(began)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if endErr := c.store.EndCleanup(end, c.owner, r.floor, store.Removed(r.result.Removed), err == nil); err == nil {
		err = endErr
	}
	if err != nil {
		err = fmt.Errorf("outbox cleaner: after %d events: %w", r.result.Removed.Total(), err)
	}
	return r.result, err
}

// DryRun returns what Once would remove, and changes nothing. It may run at the same time as other cleaners.
func (c *Cleaner) DryRun(ctx context.Context) (Cleaned, error) {
	began := time.Now()
	last, err := c.store.LastCleanup(ctx)
	if err != nil {
		return Cleaned{}, fmt.Errorf("outbox cleaner: %w", err)
	}
	r := cleaning{Cleaner: c, now: last.Now}
	if err = r.run(ctx); err != nil {
		err = fmt.Errorf("outbox cleaner: %w", err)
	}
	r.result.Took = time.Since(began)
	return r.result, err
}

// Run cleans up at the configured times until ctx ends, and returns nil. It logs a failure and retries after some minutes; it also retries when another
// cleaner works, whose retention may be longer.
func (c *Cleaner) Run(ctx context.Context) error {
	failures := 0
	for {
		now := time.Now()
		next := c.next(now)
		if again := now.Add(time.Minute << min(failures, 5) / 2); failures > 0 && again.Before(next) {
			next = again
		}
		if !sleepUntil(ctx, next, c.extend) {
			return nil
		}
		result, err := c.Once(ctx)
		fields := watermill.LogFields{"sent": result.Removed.Sent, "skipped": result.Removed.Skipped, "dead": result.Removed.Dead, "took": result.Took.String()}
		switch {
		case errors.Is(err, ErrCleanupRunning):
			c.logger.Debug("Somebody else is cleaning up; trying again", watermill.LogFields{"err": err.Error()})
			failures = 1
			continue
		case ctx.Err() != nil:
			return nil
		case err != nil:
			failures++
			c.logger.Error("Cannot clean up; trying again", err, fields)
			continue
		default:
			c.logger.Info("Cleaned up", fields)
		}
		failures = 0
	}
}

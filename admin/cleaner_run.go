package admin

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// cleaning is one clean-up.
type cleaning struct {
	*Cleaner
	owner  string // empty in a dry run
	now    time.Time
	floor  int64
	oldest time.Time // of the events looked at
	result Cleaned
}

func (r *cleaning) run(ctx context.Context) error {
	parts, err := r.store.Partitions(ctx)
	if err != nil {
		return err
	}
	if r.cfg.SkippedRetention != Forever || r.cfg.DeadRetention != Forever {
		if err := r.walk(ctx, 0, r.store.CleanUnsent, func(store.CleanedBatch) {}); err != nil {
			return err
		}
	}
	if r.cfg.Retention == Forever {
		return nil
	}
	from, clean, left := r.floor, r.store.CleanSent, error(nil)
	if standard := slices.IndexFunc(parts, store.Partition.Default); len(parts) > 0 && len(r.cfg.Tenants) == 0 {
		if left = r.drop(ctx, parts); left != nil && ctx.Err() != nil {
			return left
		}
		if standard < 0 {
			return left
		}
		// What stays of a partition moves there, whatever its number.
		from = 0
		clean = func(ctx context.Context, b store.CleanupBatch) (store.CleanedBatch, error) {
			b.Only = &parts[standard]
			return r.store.CleanSent(ctx, b)
		}
	}
	until := r.before(r.cfg.Retention)
	kept := len(parts) > 0 // from there on something stays
	err = r.walk(ctx, from, clean, func(c store.CleanedBatch) {
		if c.Kept != 0 && !kept {
			kept, r.floor = true, c.Kept-1
		}
		if !kept {
			r.floor = c.Last
		}
		if r.oldest.IsZero() {
			r.oldest = c.At
		}
		done := 1.0
		if span := until.Sub(r.oldest); span > 0 {
			done = min(max(float64(c.At.Sub(r.oldest))/float64(span), 0), 1)
		}
		r.cfg.Progress(CleanerProgress{Removed: r.result.Removed, Done: done})
	})
	return errors.Join(err, left)
}

// before is what events are compared with that are kept for retention.
func (r *cleaning) before(retention time.Duration) time.Time {
	if retention == Forever {
		return time.Time{}
	}
	return r.now.Add(-retention)
}

// walk cleans the table batch by batch above after, until nothing of a batch is old enough any more: what comes later was stored later.
func (r *cleaning) walk(ctx context.Context, after int64, clean func(context.Context, store.CleanupBatch) (store.CleanedBatch, error),
	did func(store.CleanedBatch),
) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		c, err := r.batch(ctx, after, clean)
		if err != nil {
			return err
		}
		r.result.Batches++
		r.result.Held += c.Held
		r.result.Removed.Sent += c.Removed.Sent
		r.result.Removed.Skipped += c.Removed.Skipped
		r.result.Removed.Dead += c.Removed.Dead
		if c.Looked > 0 {
			did(c)
		}
		if c.Old == 0 || c.Looked < r.cfg.BatchSize {
			return nil
		}
		after = c.Last
		pause := r.cfg.Pause
		if c.Removed.Total() == 0 || r.owner == "" {
			pause = 0 // nothing was written
		}
		timer.Reset(pause)
	}
}

func (r *cleaning) batch(ctx context.Context, after int64, clean func(context.Context, store.CleanupBatch) (store.CleanedBatch, error)) (store.CleanedBatch, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.QueryTimeout)
	defer cancel()
	return clean(ctx, r.request(after))
}

// request says what is removed above after.
func (r *cleaning) request(after int64) store.CleanupBatch {
	return store.CleanupBatch{
		Owner: r.owner, Lease: cleanerLease + r.cfg.QueryTimeout, Floor: r.floor, After: after, Limit: r.cfg.BatchSize, Tenants: r.cfg.Tenants,
		Sent: r.before(r.cfg.Retention), Skipped: r.before(r.cfg.SkippedRetention), Dead: r.before(r.cfg.DeadRetention),
	}
}

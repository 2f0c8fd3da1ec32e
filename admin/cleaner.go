package admin

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// Forever as a retention keeps all events of a status.
const Forever time.Duration = -1

// CleanerConfig says what is removed from the tables, and when. The zero value works: every night at two, it removes what was sent or skipped
// more than 7 days ago, and keeps what is dead.
type CleanerConfig struct {
	// Schema names the tables. Its Dialect defaults to what the database's driver tells.
	Schema schema.Config
	// Retention is how long events are kept after they were stored, if they were sent since. Defaults to 7 days; [Forever] keeps them.
	Retention time.Duration
	// SkippedRetention is how long events are kept after they were skipped. Defaults to Retention.
	SkippedRetention time.Duration
	// DeadRetention is how long events are kept after they died. Defaults to [Forever]. One stays in any case while later events of its key
	// wait for it.
	DeadRetention time.Duration
	// Tenants whose events are removed. Empty means all.
	Tenants []string

	// BatchSize is the number of events that one transaction looks at. Defaults to 5000.
	BatchSize int
	// Pause is the wait between two batches, in which others have the database to themselves. Defaults to 100 ms.
	Pause time.Duration
	// At is the time of day of [Cleaner.Run], in Location. Defaults to "02:00".
	At string
	// Location of At. Defaults to time.Local.
	Location *time.Location
	// Every, if it is not 0, is how often [Cleaner.Run] cleans up, instead of At.
	Every time.Duration
	// QueryTimeout bounds each batch. Defaults to 1 minute.
	QueryTimeout time.Duration
	// Progress is called after each batch, by the goroutine that does the work.
	Progress func(CleanerProgress)
}

// Removed counts the events that a clean-up removed, by status.
type Removed struct {
	Sent    int64 `json:"sent"`
	Skipped int64 `json:"skipped"`
	Dead    int64 `json:"dead"`
}

// Total returns the sum of all.
func (r Removed) Total() int64 { return r.Sent + r.Skipped + r.Dead }

// ErrCleanupRunning is wrapped by the error of [Cleaner.Once] while another cleaner is at work.
var ErrCleanupRunning = store.ErrCleanupRunning

// CleanerProgress is how far a clean-up is.
type CleanerProgress struct {
	Removed Removed
	// Done is from 0 to 1, by the time at which the events were stored.
	Done float64
}

// Cleaned is the result of a clean-up.
type Cleaned struct {
	Removed Removed
	// Partitions are those that were dropped whole. Their events are not in Removed.
	Partitions []DroppedPartition
	// Held is how many dead events were old enough, and stay because later events of their key wait for them.
	Held    int64
	Batches int
	Took    time.Duration
}

// DroppedPartition is a partition whose events were all old.
type DroppedPartition struct {
	Name   string
	Events int64 // about so many went with it
	Kept   int64 // so many are not finished, are dead or were skipped, and moved to the default partition
}

// Cleaner removes finished events. Nothing that is pending, waiting or held is ever removed. Of any number of cleaners on the same tables,
// in any number of processes, one works at a time. It is safe for concurrent use.
type Cleaner struct {
	store  *store.Store
	cfg    CleanerConfig
	at     time.Duration // since midnight
	logger watermill.LoggerAdapter
	owner  string
}

// cleanerLease is how long the clean-up of a cleaner that died is closed to others, on top of the time for a batch.
const cleanerLease = 30 * time.Second

// NewCleaner checks cfg and that the tables are there. db stays the caller's to close, after Run and Once have returned. A nil logger
// logs nothing.
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

func (c CleanerConfig) withDefaults() (CleanerConfig, time.Duration, error) {
	var faults []error
	duration := func(name string, v *time.Duration, standard time.Duration, forever bool) {
		if *v == 0 {
			*v = standard
		}
		if *v < 0 && (!forever || *v != Forever) {
			faults = append(faults, fmt.Errorf("%s is %s, must not be negative", name, *v))
		}
	}
	duration("Retention", &c.Retention, 7*24*time.Hour, true)
	duration("SkippedRetention", &c.SkippedRetention, c.Retention, true)
	duration("DeadRetention", &c.DeadRetention, Forever, true)
	duration("Pause", &c.Pause, 100*time.Millisecond, false)
	duration("Every", &c.Every, 0, false)
	duration("QueryTimeout", &c.QueryTimeout, time.Minute, false)
	if c.BatchSize == 0 {
		c.BatchSize = 5000
	}
	if c.BatchSize < 1 || c.BatchSize > 100_000 {
		faults = append(faults, fmt.Errorf("BatchSize is %d, must be between 1 and 100000", c.BatchSize))
	}
	if c.At == "" {
		c.At = "02:00"
	}
	if c.Location == nil {
		c.Location = time.Local
	}
	if c.Progress == nil {
		c.Progress = func(CleanerProgress) {}
	}
	at, err := time.Parse("15:04", c.At)
	if err != nil {
		faults = append(faults, fmt.Errorf("At is %q, must be a time of day such as 02:00", c.At))
	}
	return c, time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute, errors.Join(faults...)
}

// cleanerName tells people who cleans up.
func cleanerName() string {
	b := make([]byte, 4)
	_, _ = rand.Read(b)
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("%s, process %d (%s)", host, os.Getpid(), hex.EncodeToString(b))
}

// Once removes what is old enough now, batch by batch, and returns what it removed, also when it failed or ctx ended on the way. The error wraps
// [ErrCleanupRunning] when another cleaner is at work.
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

// DryRun counts what Once would remove, and changes nothing. It may run beside others.
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

// Run cleans up every day at the time that is configured, until ctx ends, and returns nil then. A clean-up that fails is logged and tried
// again after some minutes, and so is one that finds another cleaner at work, which may keep what this one removes.
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

// next returns when the next clean-up after now is.
func (c *Cleaner) next(now time.Time) time.Time {
	if c.cfg.Every > 0 {
		return now.Add(c.cfg.Every)
	}
	local := now.In(c.cfg.Location)
	for day := 0; ; day++ {
		at := time.Date(local.Year(), local.Month(), local.Day()+day, int(c.at/time.Hour), int(c.at%time.Hour/time.Minute), 0, 0, c.cfg.Location)
		if at.After(now) {
			return at
		}
	}
}

// sleepUntil waits for a time of the wall clock, which may be set meanwhile, and calls meanwhile every minute. It returns false when ctx ended.
func sleepUntil(ctx context.Context, at time.Time, meanwhile func(context.Context)) bool {
	for {
		meanwhile(ctx)
		left := at.Round(0).Sub(time.Now().Round(0))
		if left <= 0 {
			return ctx.Err() == nil
		}
		timer := time.NewTimer(min(left, time.Minute))
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
		}
	}
}

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

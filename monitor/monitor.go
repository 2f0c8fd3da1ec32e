// Package monitor watches an outbox: a [Monitor] takes snapshots of the backlog, with alerts and bottlenecks as findings, and exports them to
// Prometheus; [Metrics] count what a forwarder does; [Ready] and [Live] are handlers for probes. The status page is package statuspage.
//
// A snapshot reads a bounded number of rows, whatever waits, and is taken once per interval, however many ask.
package monitor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/bento-outbox/watermill-outbox/admin"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// Config configures a [Monitor]. The zero value works.
type Config struct {
	// Schema names the tables.
	Schema schema.Config
	// Thresholds of the alerts.
	Thresholds Thresholds
	// Interval is the largest age of a snapshot that [Monitor.Recent] returns. After a snapshot that took longer than a twentieth of it, the next one
	// is taken later, so that snapshots take at most 5 % of the time; at most a minute later. Defaults to 5 s; at least 100 ms.
	Interval time.Duration
	// Timeout bounds the time for one snapshot. Defaults to 10 s; at least 100 ms.
	Timeout time.Duration
	// DefaultPublisher is the publisher of destinations that name none, as in the forwarder's Config, so that what they hold counts as that
	// publisher's. Empty by default.
	DefaultPublisher string
	// Top is the number of destinations, tenants and topics that a snapshot names: those with the most open. The rest of each is added up under
	// [Others]. Defaults to 50; at most 200.
	Top int
}

const (
	slowShare = 20          // a snapshot that took T is followed by the next one 20 T later,
	slowMost  = time.Minute // at most
)

const minTime = 100 * time.Millisecond

func (c Config) withDefaults() (Config, error) {
	var faults []error
	duration := func(name string, d *time.Duration, standard time.Duration) {
		switch {
		case *d == 0:
			*d = standard
		case *d < minTime:
			faults = append(faults, fmt.Errorf("%s %s: want at least %s", name, *d, minTime))
		}
	}
	duration("Interval", &c.Interval, 5*time.Second)
	duration("Timeout", &c.Timeout, 10*time.Second)
	switch {
	case c.Top == 0:
		c.Top = 50
	case c.Top < 0 || c.Top > maxLabelValues:
		faults = append(faults, fmt.Errorf("Top %d: must be between 0 and %d", c.Top, maxLabelValues))
	}
	var err error
	if c.Thresholds, err = c.Thresholds.withDefaults(); err != nil {
		faults = append(faults, err)
	}
	return c, errors.Join(faults...)
}

// Monitor takes snapshots of one outbox. It is safe for concurrent use.
type Monitor struct {
	db    *sql.DB
	store *store.Store
	admin *admin.Client
	cfg   Config
	log   watermill.LoggerAdapter

	taking chan struct{} // holds one token: who has it asks the database

	mu      sync.Mutex
	recent  Snapshot // the last one that was taken
	failed  error    // of the last attempt
	tried   time.Time
	took    time.Duration // by the last attempt
	errors  uint64
	mark    mark // what rates are counted from
	since   map[identity]time.Time
	history history
}

// New returns a monitor of the outbox in db. Snapshots show the pool of db: pass the one that the forwarder uses. The caller closes db.
//
// The error names all faults of cfg, or wraps [schema.ErrSchema] when the tables are missing, too old or too new.
func New(ctx context.Context, db *sql.DB, cfg Config, logger watermill.LoggerAdapter) (*Monitor, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("invalid monitor config: %w", err)
	}
	client, err := admin.NewClient(ctx, db, cfg.Schema)
	if err != nil {
		return nil, err
	}
	st, err := store.Open(ctx, db, cfg.Schema)
	if err != nil {
		return nil, err
	}
	if logger == nil {
		logger = watermill.NopLogger{}
	}
	return &Monitor{
		db: db, store: st, admin: client, cfg: cfg, log: logger, taking: make(chan struct{}, 1),
		history: history{limit: int(historyTime / cfg.Interval)},
	}, nil
}

// Admin returns a client that acts on the outbox that m watches.
func (m *Monitor) Admin() *admin.Client { return m.admin }

// Recent returns the last snapshot if it is not older than [Config.Interval], else a new one. Callers share a snapshot that is being taken. A failure
// is returned for as long as a snapshot would be, so that frequent callers do not load a database in trouble.
func (m *Monitor) Recent(ctx context.Context) (Snapshot, error) {
	if s, err, fresh := m.fresh(); fresh {
		return s, err
	}
	select {
	case m.taking <- struct{}{}:
		defer func() { <-m.taking }()
	case <-ctx.Done():
		return Snapshot{}, ctx.Err()
	}
	if s, err, fresh := m.fresh(); fresh {
		return s, err
	}
	// Others wait for it too: it does not end with the one who asked first.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.cfg.Timeout)
	defer cancel()
	return m.Take(ctx)
}

func (m *Monitor) fresh() (s Snapshot, err error, fresh bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.recent, m.failed, time.Since(m.tried) < max(m.cfg.Interval, min(slowShare*m.took, slowMost))
}

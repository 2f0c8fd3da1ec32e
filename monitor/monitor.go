// Package monitor is what people and machines look at: a [Snapshot] of the outbox with its alerts and bottlenecks, a Prometheus collector for it,
// metrics that a forwarder feeds, and handlers for readiness. Its status page is in the package statuspage.
//
// What it asks of the database is bounded, whatever waits there, and is asked once an interval, however many look.
package monitor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// Config is how an outbox is watched. The zero value works.
type Config struct {
	// Schema says which tables.
	Schema schema.Config
	// Thresholds of the alerts.
	Thresholds Thresholds
	// Interval is how old a snapshot may be that several look at. Defaults to 5 s; at least 100 ms.
	Interval time.Duration
	// Timeout is how long the database may take for one snapshot. Defaults to 10 s; at least 100 ms.
	Timeout time.Duration
	// DefaultPublisher is the name of the publisher of destinations without one, as the forwarder's Config has it, so that what they hold is
	// counted as that publisher's. Empty by default.
	DefaultPublisher string
	// Top is how many destinations, tenants and topics a snapshot names: those with the most to do. The rest of each is summed under [Others].
	// Defaults to 50; at most 200.
	Top int
}

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
	case c.Top < 0 || c.Top > MaxLabelValues:
		faults = append(faults, fmt.Errorf("Top %d: must be between 0 and %d", c.Top, MaxLabelValues))
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
	cfg   Config
	log   watermill.LoggerAdapter

	taking chan struct{} // holds one token: who has it asks the database

	mu      sync.Mutex
	recent  Snapshot // the last one that was taken
	failed  error    // of the last attempt
	tried   time.Time
	errors  uint64
	mark    mark // what rates are counted from
	since   map[alertKey]time.Time
	history history
}

// New returns a monitor of the outbox in db, which stays the caller's to close; its pool is what snapshots show. Give it the one that the forwarder uses.
//
// The error tells all faults of cfg, or wraps [schema.ErrSchema] when the tables are missing, too old or too new.
func New(ctx context.Context, db *sql.DB, cfg Config, logger watermill.LoggerAdapter) (*Monitor, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("invalid monitor config: %w", err)
	}
	st, err := store.Open(ctx, db, cfg.Schema)
	if err != nil {
		return nil, err
	}
	if logger == nil {
		logger = watermill.NopLogger{}
	}
	return &Monitor{
		db: db, store: st, cfg: cfg, log: logger, taking: make(chan struct{}, 1), since: map[alertKey]time.Time{},
		history: history{limit: int(historyTime / cfg.Interval)},
	}, nil
}

// Store returns the store that m looks at.
func (m *Monitor) Store() *store.Store { return m.store }

// Recent returns the last snapshot when it is not older than the interval of the config, else a new one. Those who ask while one is taken wait for it.
// A failure is returned for as long as a snapshot would be, so that nobody who asks often troubles a database that is in trouble.
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
	return m.recent, m.failed, time.Since(m.tried) < m.cfg.Interval
}

// Watch takes a snapshot each interval until ctx ends, so that the history has no holes, and logs each alert when it is raised and when it is over.
func (m *Monitor) Watch(ctx context.Context) {
	tick := time.NewTicker(m.cfg.Interval)
	defer tick.Stop()
	raised := map[alertKey]Alert{}
	down := false
	for {
		s, err := m.Recent(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !down {
				m.log.Error("Cannot look at the outbox", err, nil)
			}
			down = true
		default:
			if down {
				m.log.Info("Looking at the outbox again", nil)
			}
			down = false
			raised = m.logAlerts(raised, s.Alerts)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// logAlerts logs what differs from the alerts before, and returns those of now.
func (m *Monitor) logAlerts(before map[alertKey]Alert, list []Alert) map[alertKey]Alert {
	now := map[alertKey]Alert{}
	for _, a := range list {
		now[a.key()] = a
		if before[a.key()].Level != a.Level {
			fields := watermill.LogFields{"alert": a.Rule, "severity": a.Level, "action": a.Action}
			if a.Level == Critical {
				m.log.Error("Alert", errors.New(a.Message), fields)
				continue
			}
			m.log.Info("Alert: "+a.Message, fields)
		}
	}
	for key, a := range before {
		if _, still := now[key]; !still {
			m.log.Info("Alert is over: "+a.Message, watermill.LogFields{"alert": a.Rule, "severity": a.Level})
		}
	}
	return now
}

package forwarder

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/bento-outbox/watermill-outbox/internal/engine"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// ErrClosed is wrapped by the errors of what is used after Close.
var ErrClosed = errors.New("closed")

// ErrGroupConflict is wrapped by the error of a forwarder that starts while another serves some of the same events under another definition.
var ErrGroupConflict = store.ErrGroupConflict

// group is what a forwarder, or a subscriber, takes part in: its members share the slots of the events that it serves with those of other processes.
type group struct {
	db     *sql.DB
	cfg    SubscriberConfig
	logger watermill.LoggerAdapter
	gates  engine.Gates
	probe  time.Duration
	now    func() engine.Instant // what leases are counted by

	ownedMu sync.Mutex
	owned   int // slots of all members

	repeats repeats

	store atomic.Pointer[store.Store] // nil before the tables were seen

	mu      sync.Mutex
	closed  bool
	unready bool // the last rehearsal failed
	members []*membership
}

// newGroup checks cfg. It does not use db.
func newGroup(db *sql.DB, cfg SubscriberConfig, logger watermill.LoggerAdapter) (*group, error) {
	if db == nil {
		return nil, errors.New("database is nil")
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if _, err := schema.NewMigrator(db, cfg.Schema); err != nil { // which has the same needs
		return nil, err
	}
	if cfg.Listen {
		if err := checkListen(db); err != nil {
			return nil, err
		}
	}
	return &group{db: db, cfg: cfg, logger: logger, gates: noGates{}, now: engine.Now}, nil
}

// open looks at the tables.
func (g *group) open(ctx context.Context) (*store.Store, error) {
	if s := g.store.Load(); s != nil {
		return s, nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.QueryTimeout)
	defer cancel()
	s, err := store.Open(ctx, g.db, g.cfg.Schema)
	if err != nil {
		return nil, err
	}
	g.store.Store(s)
	return s, nil
}

// engine returns an engine that has joined the group, or a group of its own for a topic other than [AllTopics].
func (g *group) engine(ctx context.Context, topic string, d engine.Deliverer) (*engine.Engine, error) {
	s, err := g.open(ctx)
	if err != nil {
		return nil, err
	}
	c := g.cfg
	cfg := engine.Config{
		Group: c.Group, Filter: c.filter(),
		BatchSize: c.BatchSize, MaxConcurrent: c.MaxConcurrent, SettleBatch: c.SettleBatch, SettleDelay: c.SettleDelay,
		SleepBusy: c.SleepBusy, SleepIdle: c.SleepIdle, SleepIdleMax: c.SleepIdleMax, SweepInterval: c.SweepInterval, ProbeInterval: g.probe,
		Lease: c.Lease, PublishTimeout: c.PublishTimeout, QueryTimeout: c.QueryTimeout, CloseTimeout: c.CloseTimeout, Unordered: c.Unordered,
		Hooks:    engine.Hooks{Read: c.Hooks.Read, Settled: c.Hooks.Settled, Died: c.Hooks.Died, Slots: g.tellSlots},
		Returned: g.repeats.note, Now: g.now,
	}
	if topic != AllTopics {
		cfg.Group, cfg.Filter.Topics = c.Group+"/"+topic, []string{topic}
	}
	e := engine.New(s, cfg, d, g.gates, g.logger)
	if err := e.Start(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// tellSlots tells the hook how many slots all members own.
func (g *group) tellSlots(change int) {
	g.ownedMu.Lock()
	defer g.ownedMu.Unlock()
	g.owned += change
	g.cfg.Hooks.Slots(g.owned)
}

// engines returns the engines that run now. All is false when a member still waits for its database.
func (g *group) engines() (list []*engine.Engine, all bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	all = true
	for _, m := range g.members {
		switch {
		case m.ended():
		case m.engine == nil:
			all = false
		default:
			list = append(list, m.engine)
		}
	}
	return list, all
}

// opens makes the engines go on with what is held in scope.
func (g *group) opens(scope engine.Scope) {
	list, _ := g.engines()
	for _, e := range list {
		e.Opened(scope)
	}
}

// idle reports whether nothing is in memory, and everything that is held was looked at.
func (g *group) idle() bool {
	list, all := g.engines()
	return all && !slices.ContainsFunc(list, func(e *engine.Engine) bool { return !e.Idle() })
}

// Wake is [Forwarder.Wake].
func (g *group) Wake() {
	list, _ := g.engines()
	for _, e := range list {
		e.Wake()
	}
}

// Close is [Forwarder.Close].
func (g *group) Close() error { return g.close().end() }

// Abort is [Forwarder.Abort].
func (g *group) Abort() error {
	list := g.close()
	engines, _ := g.engines()
	for _, e := range engines {
		e.Abort()
	}
	return list.end()
}

// close has no member start any more, and returns those that did.
func (g *group) close() memberships {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for _, m := range g.members { // before anybody can see that it is closed, so that nothing starts after that
		m.stop()
	}
	return slices.Clone(g.members)
}

// Ready is [Forwarder.Ready].
func (g *group) Ready(ctx context.Context) error {
	list, all := g.engines()
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	switch {
	case closed:
		return errors.New("is closed")
	case !all:
		return errors.New("has not reached its database yet")
	case len(list) == 0:
		return errors.New("is not running")
	}
	for _, e := range list {
		if err := e.Lacks(); err != nil {
			return err
		}
	}
	err := g.store.Load().Rehearse(ctx)
	g.rehearsed(err)
	if err != nil {
		return errors.New("cannot read or settle events in the database")
	}
	return nil
}

// rehearsed logs when rehearsals begin to fail, and when they succeed again.
func (g *group) rehearsed(err error) {
	g.mu.Lock()
	before := g.unready
	g.unready = err != nil
	g.mu.Unlock()
	switch {
	case err != nil && !before:
		g.logger.Error("Not ready: the database would refuse to have events read or settled", err, nil)
	case err == nil && before:
		g.logger.Info("Ready again: the database lets events be read and settled", watermill.LogFields{})
	}
}

// noGates are the gates of a subscriber, which knows no destinations.
type noGates struct{}

func (noGates) Blocked(*store.Event, string) bool                  { return false }
func (noGates) Tripped(*store.Event, string) (bool, string, int64) { return false, "", 0 }
func (noGates) Scope(string) engine.Scope                          { return engine.Scope{} }
func (noGates) Probes() []engine.Scope                             { return nil }
func (noGates) Control([]store.Control) (bool, []store.Control)    { return false, nil }

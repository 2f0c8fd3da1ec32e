package monitor

import (
	"context"
	"database/sql"
	"time"

	"github.com/bento-outbox/watermill-outbox/admin"
	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// Others is the name of the sum of what a snapshot does not name.
const Others = "(others)"

// Snapshot is the state of an outbox at one time.
type Snapshot struct {
	Time time.Time `json:"time"`
	// Totals counts events and deliveries by state, each up to 10,000.
	Totals Totals `json:"totals"`
	// Span has, for each state with more than that, the distance between the first and the last of its event numbers, which finished events lie
	// between too. It is 0 for a state that was counted, whose total and groups are exact; else they count the first ones.
	Span Totals `json:"span"`
	// Inserted is the last event number given out.
	Inserted int64 `json:"inserted"`
	// OldestSeconds is the age of the oldest event that is pending and of the oldest delivery that is held, whichever is older.
	OldestSeconds float64 `json:"oldest_seconds"`
	// Rates are nil in the first snapshot, which has nothing to compare with.
	Rates *Rates `json:"rates"`
	// QueryMillis is how long the database needed for a cheap query, which forwarders run all the time.
	QueryMillis float64 `json:"query_ms"`

	Destinations []Group `json:"destinations"` // of deliveries; the destinations of pending events are not known yet
	Tenants      []Group `json:"tenants"`
	Topics       []Group `json:"topics"`

	Paused      []admin.Pause `json:"paused"`
	Unreachable []Unreachable `json:"unreachable"`
	Forwarders  []Forwarder   `json:"forwarders"`
	FreeSlots   int           `json:"free_slots"` // without an owner, of groups that have a forwarder alive
	Pool        Pool          `json:"pool"`

	Findings []Finding `json:"findings"` // alerts and bottlenecks, the worst first

	standard string // the publisher of destinations that name none
}

// Totals are numbers of events and deliveries by state.
type Totals struct {
	Pending int64 `json:"pending"` // events before their first pass
	Waiting int64 `json:"waiting"` // deliveries that are tried when they are due: retries and delayed ones
	Held    int64 `json:"held"`    // deliveries behind another one of their key, a pause, or an unreachable destination
	Dead    int64 `json:"dead"`    // deliveries that gave up
	Skipped int64 `json:"skipped"` // deliveries that no target wanted
}

// Open returns the number of unfinished ones.
func (t Totals) Open() int64 { return t.Pending + t.Held + t.Waiting }

func (t *Totals) of(s store.State) *int64 {
	switch s {
	case store.Pending:
		return &t.Pending
	case store.Waiting:
		return &t.Waiting
	case store.Held:
		return &t.Held
	case store.Dead:
		return &t.Dead
	}
	return &t.Skipped
}

// Exact reports whether no state has more than was counted.
func (s Snapshot) Exact() bool { return s.Span == Totals{} }

// Backlog returns what could go now if nothing were in the way: pending events and held deliveries, each by its span where it has more than was
// counted. Deliveries that wait for their time are not part of it.
func (s Snapshot) Backlog() int64 { return s.size(store.Pending) + s.size(store.Held) }

// size is the count of a state, or its span where it has more.
func (s Snapshot) size(state store.State) int64 { return max(*s.Totals.of(state), *s.Span.of(state)) }

// scaled is n of the counted ones of a state, in proportion to its size.
func (s Snapshot) scaled(n int64, state store.State) int64 {
	if *s.Span.of(state) == 0 {
		return n
	}
	return int64(float64(n) * float64(s.size(state)) / float64(*s.Totals.of(state)))
}

// Group is what there is of one destination, tenant or topic.
type Group struct {
	Name          string  `json:"name"`
	Totals        Totals  `json:"totals"`
	OldestSeconds float64 `json:"oldest_seconds"` // of what is pending, waiting or held
}

// Rates are in events per second since the snapshot before. They count numbers given out, so events that were rolled back are in both.
type Rates struct {
	In  float64 `json:"in"`  // inserted
	Out float64 `json:"out"` // had their first pass
	// OverSeconds is the time between the two snapshots.
	OverSeconds float64 `json:"over_seconds"`
}

// Unreachable is a publisher, as kafka://, or a destination whose circuit breaker is open in some forwarder.
type Unreachable struct {
	Name   string    `json:"name"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

// Forwarder is a forwarder that is alive, or died and was not cleared away yet.
type Forwarder struct {
	ID      string    `json:"id"`
	Group   string    `json:"group"`
	Started time.Time `json:"started"`
	Alive   bool      `json:"alive"`
	Slots   int       `json:"slots"`
}

// Pool has the statistics of the connections of a *sql.DB.
type Pool struct {
	Max         int     `json:"max"` // 0 means no limit
	Open        int     `json:"open"`
	InUse       int     `json:"in_use"`
	Idle        int     `json:"idle"`
	Waits       int64   `json:"waits"` // since the start
	WaitSeconds float64 `json:"wait_seconds"`
}

// Use returns the share of the connections that are in use, and 0 without a limit.
func (p Pool) Use() float64 {
	if p.Max == 0 {
		return 0
	}
	return float64(p.InUse) / float64(p.Max)
}

func poolOf(s sql.DBStats) Pool {
	return Pool{Max: s.MaxOpenConnections, Open: s.OpenConnections, InUse: s.InUse, Idle: s.Idle, Waits: s.WaitCount, WaitSeconds: s.WaitDuration.Seconds()}
}

// Take takes a snapshot now. What it reads is bounded, whatever waits; ctx bounds its time.
func (m *Monitor) Take(ctx context.Context) (Snapshot, error) {
	begin := time.Now()
	s := Snapshot{
		Time: begin, Pool: poolOf(m.db.Stats()), // before the snapshot needs a connection itself
		Paused: []admin.Pause{}, Unreachable: []Unreachable{}, Forwarders: []Forwarder{}, standard: m.cfg.DefaultPublisher,
	}
	b, err := m.store.Backlog(ctx, false)
	if err == nil {
		err = m.look(ctx, &s)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failed, m.tried, m.took = err, time.Now(), time.Since(begin)
	if err != nil {
		m.errors++
		return Snapshot{}, err
	}

	s.Inserted = b.Last
	for _, c := range b.States {
		*s.Totals.of(c.State), *s.Span.of(c.State) = c.Count, b.Span[c.State]
	}
	s.OldestSeconds = max(b.State(store.Pending).Oldest, b.State(store.Held).Oldest).Seconds()
	s.QueryMillis = float64(b.Took) / float64(time.Millisecond)
	s.Destinations, s.Tenants, s.Topics = grouped(b.Destinations, m.cfg.Top), grouped(b.Tenants, m.cfg.Top), grouped(b.Topics, m.cfg.Top)
	s.Rates = m.rates(s.Time, b)
	s.Findings = m.cfg.Thresholds.findings(s)
	m.date(s.Findings, s.Time)
	m.recent = s
	m.history.add(s)
	return s, nil
}

// look adds what is not counted.
func (m *Monitor) look(ctx context.Context, s *Snapshot) error {
	controls, err := m.store.Controls(ctx)
	if err != nil {
		return err
	}
	for _, c := range controls {
		since, name, reason := c.Since.UTC(), printable(c.Name), printable(c.Reason)
		if c.Kind == store.Unreachable {
			s.Unreachable = append(s.Unreachable, Unreachable{Name: name, Reason: reason, Since: since})
		} else {
			s.Paused = append(s.Paused, admin.Pause{Kind: admin.Kind(c.Kind), Name: name, Reason: reason, Since: since})
		}
	}
	fleet, err := m.store.Fleet(ctx)
	if err != nil {
		return err
	}
	living := map[string]bool{}
	for _, f := range fleet.Forwarders {
		s.Forwarders = append(s.Forwarders, Forwarder{ID: f.ID, Group: f.Group, Started: f.Started.UTC(), Alive: f.Alive, Slots: f.Slots})
		living[f.Group] = living[f.Group] || f.Alive
	}
	for group, free := range fleet.Free {
		if living[group] {
			s.FreeSlots += free
		}
	}
	return nil
}

// alive returns the number of forwarders that are alive.
func (s Snapshot) alive() (n int) {
	for _, f := range s.Forwarders {
		if f.Alive {
			n++
		}
	}
	return n
}

package monitor

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// Others is the name under which a snapshot sums what it does not name.
const Others = "(others)"

// Snapshot is the state of an outbox at one time.
type Snapshot struct {
	Time time.Time `json:"time"`
	// Exact is false when some numbers are estimates, see [store.Store.Backlog].
	Exact bool `json:"exact"`
	// Estimated are the states whose totals are estimates. Tenants and topics may be estimates beside totals that are exact.
	Estimated []store.State `json:"estimated"`
	// Totals of all events and deliveries.
	Totals Totals `json:"totals"`
	// Inserted is the last event number that was given out.
	Inserted int64 `json:"inserted"`
	// OldestSeconds is the age of the oldest event that is pending and of the oldest delivery that is held, whichever is older.
	OldestSeconds float64 `json:"oldest_seconds"`
	// Rates are nil in the first snapshot, which has nothing to compare with.
	Rates *Rates `json:"rates"`
	// QueryMillis is how long the database needed for a cheap question, which forwarders ask all the time.
	QueryMillis float64 `json:"query_ms"`

	Destinations []Group `json:"destinations"` // of deliveries; nobody knows yet where pending events go
	Tenants      []Group `json:"tenants"`
	Topics       []Group `json:"topics"`

	Paused      []store.Control `json:"paused"`
	Unreachable []store.Control `json:"unreachable"` // publishers, as kafka://, and destinations whose breaker is open, in any forwarder
	Forwarders  []Forwarder     `json:"forwarders"`
	FreeSlots   int             `json:"free_slots"` // that nobody owns, of groups that have a forwarder alive
	Pool        Pool            `json:"pool"`

	Alerts      []Alert      `json:"alerts"`      // the worst first
	Bottlenecks []Bottleneck `json:"bottlenecks"` // the worst first

	standard string // the publisher of destinations that name none
}

// Totals are numbers of what is not finished, by state.
type Totals struct {
	Pending int64 `json:"pending"` // events that nobody has looked at
	Waiting int64 `json:"waiting"` // deliveries that are tried when they are due: retries, and delayed ones
	Held    int64 `json:"held"`    // deliveries behind another one of their key, a pause, or a destination that cannot be reached
	Dead    int64 `json:"dead"`    // deliveries that gave up
	Skipped int64 `json:"skipped"` // deliveries that nobody wanted
}

// Backlog is what could go now if everything went well: pending and held. Deliveries that wait for their time are none.
func (t Totals) Backlog() int64 { return t.Pending + t.Held }

// Open is what is not finished.
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

// Group is what there is of one destination, tenant or topic.
type Group struct {
	Name          string  `json:"name"`
	Totals        Totals  `json:"totals"`
	OldestSeconds float64 `json:"oldest_seconds"` // of what is pending, waiting or held
	Exact         bool    `json:"exact"`
}

// Rates are in events a second since the snapshot before. They count numbers that were given out, so events that were rolled back are in both.
type Rates struct {
	In  float64 `json:"in"`  // inserted
	Out float64 `json:"out"` // had their first pass
	// OverSeconds is the time between the two snapshots.
	OverSeconds float64 `json:"over_seconds"`
}

// Forwarder is a process that forwards, or did until it died.
type Forwarder struct {
	ID      string    `json:"id"`
	Group   string    `json:"group"`
	Started time.Time `json:"started"`
	Alive   bool      `json:"alive"`
	Slots   int       `json:"slots"`
}

// Pool is what a *sql.DB says of its connections.
type Pool struct {
	Max         int     `json:"max"` // 0 means no limit
	Open        int     `json:"open"`
	InUse       int     `json:"in_use"`
	Idle        int     `json:"idle"`
	Waits       int64   `json:"waits"` // since the start
	WaitSeconds float64 `json:"wait_seconds"`
}

// Use is the share of the connections that are in use, 0 when there is no limit.
func (p Pool) Use() float64 {
	if p.Max == 0 {
		return 0
	}
	return float64(p.InUse) / float64(p.Max)
}

func poolOf(s sql.DBStats) Pool {
	return Pool{Max: s.MaxOpenConnections, Open: s.OpenConnections, InUse: s.InUse, Idle: s.Idle, Waits: s.WaitCount, WaitSeconds: s.WaitDuration.Seconds()}
}

// Take takes a snapshot now. It bounds what it asks of the database, but not how long that takes: ctx does.
func (m *Monitor) Take(ctx context.Context) (Snapshot, error) { return m.take(ctx, false) }

// TakeExact takes a snapshot that estimates nothing. With a million events open it takes seconds.
func (m *Monitor) TakeExact(ctx context.Context) (Snapshot, error) { return m.take(ctx, true) }

func (m *Monitor) take(ctx context.Context, exact bool) (Snapshot, error) {
	pool := m.db.Stats() // before the snapshot needs a connection itself
	s := Snapshot{Time: time.Now(), Pool: poolOf(pool), Paused: []store.Control{}, Unreachable: []store.Control{}, Forwarders: []Forwarder{}, standard: m.cfg.DefaultPublisher}
	b, err := m.store.Backlog(ctx, exact)
	if err == nil {
		err = m.look(ctx, &s)
	}
	if err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.failed, m.tried = err, time.Now()
		m.errors++
		return Snapshot{}, err
	}

	s.Exact, s.Inserted, s.Estimated = b.Exact(), b.Last, []store.State{}
	for _, c := range b.States {
		*s.Totals.of(c.State) = c.Count
		if !c.Exact {
			s.Estimated = append(s.Estimated, c.State)
		}
	}
	s.OldestSeconds = max(b.State(store.Pending).Oldest, b.State(store.Held).Oldest).Seconds()
	s.QueryMillis = float64(b.Took) / float64(time.Millisecond)
	s.Destinations, s.Tenants, s.Topics = grouped(b.Destinations, m.cfg.Top), grouped(b.Tenants, m.cfg.Top), grouped(b.Topics, m.cfg.Top)

	m.mu.Lock()
	defer m.mu.Unlock()
	s.Rates = m.rates(s.Time, b)
	s.Alerts = m.cfg.Thresholds.alerts(s)
	m.date(s.Alerts, s.Time)
	s.Bottlenecks = m.cfg.Thresholds.bottlenecks(s)
	m.recent, m.failed, m.tried = s, nil, time.Now()
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
		c.Since, c.Name, c.Reason = c.Since.UTC(), printable(c.Name), printable(c.Reason)
		if c.Kind == store.Unreachable {
			s.Unreachable = append(s.Unreachable, c)
		} else {
			s.Paused = append(s.Paused, c)
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

// IsEstimated tells whether the total of any of the states is an estimate.
func (s Snapshot) IsEstimated(states ...store.State) bool {
	return slices.ContainsFunc(states, func(state store.State) bool { return slices.Contains(s.Estimated, state) })
}

// grouped puts the counts of a name together. It names the top ones that have most to do, and sums the rest.
func grouped(counts []store.Count, top int) []Group {
	byName := map[string]*Group{}
	for _, c := range counts {
		name := printable(c.Name)
		g := byName[name]
		if g == nil {
			g = &Group{Name: name, Exact: true}
			byName[name] = g
		}
		*g.Totals.of(c.State) += c.Count
		g.Exact = g.Exact && c.Exact
		if c.State != store.Dead && c.State != store.Skipped {
			g.OldestSeconds = max(g.OldestSeconds, c.Oldest.Seconds())
		}
	}
	list := make([]Group, 0, len(byName))
	for _, g := range byName {
		list = append(list, *g)
	}
	slices.SortFunc(list, func(a, b Group) int {
		if a.Name == Others || b.Name == Others { // somebody is called so
			return cmp.Compare(number(a.Name == Others), number(b.Name == Others))
		}
		return cmp.Or(cmp.Compare(b.Totals.Open(), a.Totals.Open()), cmp.Compare(b.Totals.Dead, a.Totals.Dead),
			cmp.Compare(b.Totals.Skipped, a.Totals.Skipped), cmp.Compare(a.Name, b.Name))
	})
	if len(list) <= top {
		return list
	}
	others := Group{Name: Others, Exact: true}
	for _, g := range list[top:] {
		g.Totals.each(func(state store.State, n int64) { *others.Totals.of(state) += n })
		others.OldestSeconds = max(others.OldestSeconds, g.OldestSeconds)
		others.Exact = others.Exact && g.Exact
	}
	return append(list[:top:top], others)
}

// UnreachableBy returns what keeps a destination from being reached, itself or its publisher; nil when nothing does.
func (s Snapshot) UnreachableBy(destination string) *store.Control {
	for i, c := range s.Unreachable {
		if s.covers(c.Name, destination) {
			return &s.Unreachable[i]
		}
	}
	return nil
}

// covers reports whether a control of a destination, or of all of a publisher's, is about destination.
func (s Snapshot) covers(control, destination string) bool {
	if control == destination {
		return true
	}
	if publisher, whole := strings.CutSuffix(control, "://"); whole {
		name, _, named := strings.Cut(destination, "://")
		return named && name == publisher || !named && publisher == s.standard
	}
	return false
}

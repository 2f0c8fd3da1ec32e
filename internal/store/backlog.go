package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Pending is the state of an event that nobody has looked at yet, beside the states of deliveries. It has no row in outbox_deliveries.
const Pending State = "pending"

// Count says how many events or deliveries there are in a state.
type Count struct {
	State State
	Name  string // of what is counted: a destination, a tenant or a topic
	Count int64
	// Oldest is the age of the oldest one that was seen. It may be less than that of the oldest there is when Count is an estimate.
	Oldest time.Duration
	Exact  bool // false when Count is an estimate
}

// Backlog is what is not finished, and what has failed or was skipped. Pending events are counted as events, others as deliveries.
type Backlog struct {
	// Last is the last event number that was given out. It grows by one an event, and also for an event that was rolled back.
	Last int64
	// Head is the first number that is pending, averaged over the slots. It grows by one an event that had its first pass, on the average.
	Head float64
	// Took is how long the database needed to say Last and Head, which is a look at the first entry of each slot. Deleted rows in front that cannot be removed
	// yet make it slow. Then it is asked rarely, and Took stays what it was; meanwhile only entries behind those that were first are looked at.
	Took time.Duration
	// States has one count for each state, in the order pending, waiting, held, dead, skipped; Name is empty.
	States []Count
	// Destinations, Tenants and Topics have what is not zero, by state and name. Nobody knows yet where pending events go: they have no destination.
	Destinations, Tenants, Topics []Count
}

// Exact tells whether all of b was counted and nothing is an estimate.
func (b Backlog) Exact() bool {
	return !slices.ContainsFunc(slices.Concat(b.States, b.Destinations, b.Tenants, b.Topics), func(c Count) bool { return !c.Exact })
}

// State returns the count of a state.
func (b Backlog) State(s State) Count {
	if i := slices.IndexFunc(b.States, func(c Count) bool { return c.State == s }); i >= 0 {
		return b.States[i]
	}
	return Count{State: s, Exact: true}
}

const (
	countLimit = 10_000                 // rows of one state that are counted; more are estimated
	countTime  = 250 * time.Millisecond // for one statement that counts: rows that are deleted and not yet removed make it slow

)

// A sample looks at so many cells of a table. Each has so many events when all are there: few, since every one costs a look at the big table.
// Deliveries may be far apart from each other, and are looked for in more places.
var (
	samplePending    = sampling{cells: 500, events: 2}
	sampleDeliveries = sampling{cells: 750, events: 1}
)

type sampling struct{ cells, events int64 }

var states = []State{Pending, Waiting, Held, Dead, Skipped}

// Backlog counts what is not finished. It reads the small tables, and of the big one the events that it counts by tenant and topic.
//
// States of up to 10,000 rows are counted, and so are tenants and topics when no more than that is open in all. What is more is estimated from a
// sample that is spread evenly over the numbers of the events, so that the cost is bounded whatever waits: a name that has a small share of a large
// state may be missing, and an estimate is off by some percent when most events of its range are in that state, by more when few are.
// Exact counts everything, however long that takes.
func (s *Store) Backlog(ctx context.Context, exact bool) (Backlog, error) {
	b, err := s.backlog(ctx, exact)
	return b, wrap("count what is not finished", err)
}

func (s *Store) backlog(ctx context.Context, exact bool) (b Backlog, err error) {
	limit := int64(countLimit)
	if exact {
		limit = math.MaxInt64 - 1
	}
	var h front
	if h, err = s.lookAtHeads(ctx, exact); err != nil {
		return b, err
	}
	b.Last, b.Head, b.Took = h.last, h.average(), h.took

	t := tally{state: map[State]*Count{}}
	for _, state := range states {
		t.state[state] = &Count{State: state, Exact: true}
	}
	t.state[Pending].Oldest = seconds(h.oldest)
	if err := s.countPending(ctx, &t, limit, exact); err != nil {
		return b, err
	}
	all, deliveries, err := s.countAll(ctx, limit, exact)
	if err != nil {
		return b, err
	}
	if !all {
		if err := s.sampleDeliveries(ctx, &t, deliveries, b.Last); err != nil {
			return b, err
		}
	}
	for _, state := range states[1:] {
		// What cannot be counted is not tried: skipped ones are looked for among all, and many of a state are far apart from each other.
		if t.state[state].Exact = all || state != Skipped && !t.many(state, limit); !t.state[state].Exact {
			continue
		}
		if err := s.countState(ctx, &t, state, limit, exact); err != nil {
			return b, err
		}
	}

	open, counted := int64(0), true
	for _, state := range states {
		if c := t.state[state]; state != Skipped {
			open, counted = open+c.Count, counted && c.Exact
		}
	}
	var unknown []State // by tenant and topic
	switch {
	case !counted || open > limit:
		unknown = states
	case !t.state[Skipped].Exact:
		unknown = []State{Skipped}
		fallthrough
	default:
		if t.split, err = s.groups(ctx, s.q.backlog.events, limit+1); err != nil {
			return b, err
		}
	}
	if err := s.sample(ctx, &t, unknown, h.first, deliveries, b.Last); err != nil {
		return b, err
	}
	t.fill(&b)
	return b, nil
}

// tally is a backlog in the making.
type tally struct {
	state        map[State]*Count
	destinations []Count
	split        []group // by tenant and topic
	// sampled are deliveries that a sample found, each for so many as it stands for; hits how many it found by state. Nil while none was taken.
	sampled []group
	hits    map[State]float64
}

// many tells whether a sample leaves no doubt that there are more deliveries of a state than limit.
func (t *tally) many(state State, limit int64) bool {
	const sure = 50 // so many are not found by chance where there is a third of what they stand for
	estimate := 0.0
	for _, g := range t.sampled {
		if g.state == state {
			estimate += g.count
		}
	}
	return t.hits[state] >= sure && estimate > 3*float64(limit)
}

// group is one line of a statement that counts.
type group struct {
	state                      State
	destination, tenant, topic string
	count                      float64
	oldest                     time.Duration
	exact                      bool
}

func (s *Store) countPending(ctx context.Context, t *tally, limit int64, exact bool) error {
	ctx, cancel := s.counting(ctx, exact)
	defer cancel()
	c := t.state[Pending]
	err := s.db.QueryRowContext(ctx, s.q.backlog.pending, limit+1).Scan(&c.Count)
	c.Exact = err == nil && c.Count <= limit
	return uncounted(ctx, err)
}

// countAll tells whether there are so few deliveries that skipped ones can be counted, which are looked for among all of them, and returns the
// numbers that they lie between.
func (s *Store) countAll(ctx context.Context, limit int64, exact bool) (all bool, between [2]int64, err error) {
	ctx, cancel := s.counting(ctx, exact)
	defer cancel()
	var n int64
	err = s.db.QueryRowContext(ctx, s.q.backlog.allDeliveries, limit+1).Scan(&n, &between[0], &between[1])
	return err == nil && n <= limit, between, uncounted(ctx, err)
}

// countState counts the deliveries of a state by destination.
func (s *Store) countState(ctx context.Context, t *tally, state State, limit int64, exact bool) error {
	ctx, cancel := s.counting(ctx, exact)
	defer cancel()
	c, list, err := s.destinations(ctx, state, limit)
	c.Exact = c.Exact && err == nil
	*t.state[state] = c
	t.destinations = append(t.destinations, list...)
	return uncounted(ctx, err)
}

func (s *Store) destinations(ctx context.Context, state State, limit int64) (Count, []Count, error) {
	all := Count{State: state}
	rows, err := s.db.QueryContext(ctx, s.q.backlog.deliveries[state], limit+1)
	if err != nil {
		return all, nil, err
	}
	defer rows.Close()
	var list []Count
	for rows.Next() {
		c := Count{State: state, Exact: true}
		var oldest sql.NullFloat64
		if err := rows.Scan(&c.Name, &c.Count, &oldest); err != nil {
			return Count{State: state}, nil, err
		}
		c.Oldest = seconds(oldest)
		all.Count += c.Count
		all.Oldest = max(all.Oldest, c.Oldest)
		list = append(list, c)
	}
	if err := rows.Err(); err != nil {
		return Count{State: state}, nil, err
	}
	all.Exact = all.Count <= limit
	return all, list, nil
}

// counting bounds the time of a statement that counts, unless all is to be counted.
func (s *Store) counting(ctx context.Context, exact bool) (context.Context, context.CancelFunc) {
	if exact {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, s.countTime, errTooSlow)
}

var errTooSlow = errors.New("counting takes too long")

// uncounted is the error of a statement that counts; nil when it took too long.
func uncounted(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errTooSlow) {
		return nil
	}
	return err
}

func (s *Store) groups(ctx context.Context, query string, args ...any) ([]group, error) {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []group
	for rows.Next() {
		g := group{exact: true}
		var oldest sql.NullFloat64
		if err := rows.Scan(&g.state, &g.destination, &g.tenant, &g.topic, &g.count, &oldest); err != nil {
			return nil, err
		}
		g.oldest = seconds(oldest)
		list = append(list, g)
	}
	return list, rows.Err()
}

// find looks at a sample. Each group stands for so many as there may be, and hits is how many were found by state.
func (s *Store) find(ctx context.Context, query string, how sampling, slots int, first, last int64) (list []group, hits map[State]float64, err error) {
	c := how.spread(first, last, slots)
	list, err = s.groups(ctx, query, s.d.Ints(c.starts), c.width, s.d.Ints(c.slots))
	hits = map[State]float64{}
	for i, g := range list {
		hits[g.state] += g.count
		list[i].count *= c.factor
	}
	return list, hits, err
}

// sampleDeliveries looks at a sample of the deliveries, once. It looks everywhere up to last when it is not known what they lie between.
func (s *Store) sampleDeliveries(ctx context.Context, t *tally, between [2]int64, last int64) (err error) {
	if t.hits == nil {
		if between[1] == 0 {
			between[1] = last
		}
		t.sampled, t.hits, err = s.find(ctx, s.q.backlog.sampleDeliveries, sampleDeliveries, 1, between[0], between[1])
	}
	return err
}

// sample estimates what was not counted of the states unknown, and all their tenants and topics.
func (s *Store) sample(ctx context.Context, t *tally, unknown []State, firstPending int64, deliveries [2]int64, last int64) error {
	var seen []group
	if slices.Contains(unknown, Pending) {
		list, _, err := s.find(ctx, s.q.backlog.samplePending, samplePending, s.SlotCount(), firstPending, last)
		if err != nil {
			return err
		}
		seen = list
	}
	if slices.Contains(unknown, Skipped) {
		if err := s.sampleDeliveries(ctx, t, deliveries, last); err != nil {
			return err
		}
		seen = append(seen, t.sampled...)
	}
	seen = slices.DeleteFunc(seen, func(g group) bool { return !slices.Contains(unknown, g.state) })

	estimate := map[State]float64{}
	for _, g := range seen {
		estimate[g.state] += g.count
	}
	t.split = slices.DeleteFunc(t.split, func(g group) bool { return slices.Contains(unknown, g.state) })
	for _, state := range unknown {
		if c := t.state[state]; !c.Exact {
			c.Count = max(c.Count, int64(math.Round(estimate[state])))
			t.destinations = slices.DeleteFunc(t.destinations, func(d Count) bool { return d.State == state })
		}
	}
	for _, g := range seen {
		c := t.state[g.state]
		// What the sample says of shares is put to the number that is known.
		if n := estimate[g.state]; n > 0 {
			g.count *= float64(c.Count) / n
		}
		g.exact = false
		if !c.Exact {
			c.Oldest = max(c.Oldest, g.oldest)
			if g.state != Pending {
				t.destinations = append(t.destinations, Count{State: g.state, Name: g.destination, Count: int64(math.Round(g.count)), Oldest: g.oldest})
			}
		}
		t.split = append(t.split, g)
	}
	return nil
}

// cells are pieces of the numbers of events, for each slot: those of it from a start on.
type cells struct {
	starts, slots []int64
	width         int64
	factor        float64 // there are so many times more cells than these
}

// spread returns cells at random places that are spread evenly over the numbers from first to last of every slot.
func (how sampling) spread(first, last int64, slots int) cells {
	n := int64(slots)
	c := cells{width: how.events * n, factor: 1}
	if first < 1 {
		first = 1
	}
	total := n * ((max(0, last-first+1) + c.width - 1) / c.width)
	take := min(total, how.cells)
	if take > 0 {
		c.factor = float64(total) / float64(take)
	}
	for i := range take {
		cell := i
		if take < total {
			cell = min(total-1, int64((float64(i)+rand.Float64())*c.factor))
		}
		c.starts = append(c.starts, first+cell/n*c.width)
		c.slots = append(c.slots, cell%n)
	}
	return c
}

// fill puts what was counted into b.
func (t *tally) fill(b *Backlog) {
	for _, state := range states {
		b.States = append(b.States, *t.state[state])
	}
	b.Destinations = merged(t.destinations)
	var tenants, topics []Count
	for _, g := range t.split {
		c := Count{State: g.state, Count: int64(math.Round(g.count)), Oldest: g.oldest, Exact: g.exact}
		c.Name = g.tenant
		tenants = append(tenants, c)
		c.Name = g.topic
		topics = append(topics, c)
	}
	b.Tenants, b.Topics = merged(tenants), merged(topics)
}

// merged sums counts of one state and name, and sorts them by state, then by name.
func merged(list []Count) []Count {
	rank := func(s State) int { return slices.Index(states, s) }
	slices.SortFunc(list, func(a, b Count) int { return cmp.Or(rank(a.State)-rank(b.State), cmp.Compare(a.Name, b.Name)) })
	sum := list[:0]
	for _, c := range list {
		if n := len(sum) - 1; n >= 0 && sum[n].State == c.State && sum[n].Name == c.Name {
			sum[n].Count += c.Count
			sum[n].Oldest = max(sum[n].Oldest, c.Oldest)
			sum[n].Exact = sum[n].Exact && c.Exact
			continue
		}
		sum = append(sum, c)
	}
	return slices.DeleteFunc(sum, func(c Count) bool { return c.Count == 0 })
}

func seconds(v sql.NullFloat64) time.Duration { return time.Duration(v.Float64 * float64(time.Second)) }

package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"
)

// Pending is the state of an event before its first pass, beside the states of deliveries. It has no row in outbox_deliveries.
const Pending State = "pending"

// States are all states that [Store.Backlog] counts, in its order.
var States = []State{Pending, Waiting, Held, Dead, Skipped}

// CountLimit is the largest count that [Store.Backlog] takes of a state.
const CountLimit = 10_000

// skippedLimit is the number of deliveries among which skipped ones are looked for: no index lists them.
const skippedLimit = 4 * CountLimit

// Count is a number of events or deliveries in one state.
type Count struct {
	State  State
	Name   string // the destination, tenant or topic
	Count  int64
	Oldest time.Duration // age of the oldest one that was counted
}

// Backlog counts what is unfinished, dead or skipped: pending events, and deliveries in the other states.
type Backlog struct {
	// Last is the last event number given out. It grows by one per event, rolled back ones included.
	Last int64
	// Head is the first pending number, averaged over the slots. It grows by one per event that has had its first pass, on average.
	Head float64
	// Took is how long the database needed for Last and Head: it reads the first pending entry of each slot. Deleted rows in front of it that vacuum
	// cannot remove yet make it slow.
	Took time.Duration
	// States has one count per state, in the order of [States], without a name.
	States []Count
	// Destinations, Tenants and Topics are sorted by state and name. Pending events have no destination yet. Of a state with more than [CountLimit]
	// rows, they count the first ones of each slot.
	Destinations, Tenants, Topics []Count
	// Span has the states with more rows than were counted, and the distance between the first and the last of their event numbers, which finished
	// events lie between too. That of waiting and skipped deliveries is measured over all deliveries.
	Span map[State]int64
}

// State returns the count of a state.
func (b Backlog) State(s State) Count {
	if i := slices.IndexFunc(b.States, func(c Count) bool { return c.State == s }); i >= 0 {
		return b.States[i]
	}
	return Count{State: s}
}

// Backlog counts each state exactly up to [CountLimit] rows, so that its cost is bounded. If exact is set, it counts everything, which takes seconds
// with a million rows.
func (s *Store) Backlog(ctx context.Context, exact bool) (Backlog, error) {
	l := limits{state: CountLimit, skipped: skippedLimit}
	if exact {
		l = limits{state: math.MaxInt32, skipped: math.MaxInt32}
	}
	var b Backlog
	err := retry(ctx, s.d, func() error {
		b = Backlog{Span: map[State]int64{}}
		if s.q.backlog.plan == "" {
			return s.count(ctx, s.db, &b, l)
		}
		tx, err := s.db.BeginTxx(ctx, s.d.TxOptions())
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // it only reads
		if _, err := tx.ExecContext(ctx, s.q.backlog.plan); err != nil {
			return err
		}
		return s.count(ctx, tx, &b, l)
	})
	return b, wrap("count the backlog", err)
}

// limits bound what is read of each state.
type limits struct{ state, skipped, pending, waiting, held int64 } // the last three are per slot, for names

func (s *Store) count(ctx context.Context, db queryer, b *Backlog, l limits) error {
	heads, first, err := s.front(ctx, db, b)
	if err != nil {
		return err
	}
	if err := s.countStates(ctx, db, b, heads, first, &l); err != nil {
		return err
	}
	return s.countNames(ctx, db, b, heads, l)
}

// front reads the first pending entry of each slot, and of all.
func (s *Store) front(ctx context.Context, db queryer, b *Backlog) (heads any, first int64, err error) {
	begin := time.Now()
	var text string
	var oldest sql.NullFloat64
	if err := db.QueryRowContext(ctx, s.q.backlog.heads).Scan(&b.Last, &first, &text, &oldest); err != nil {
		return nil, 0, err
	}
	b.Took = time.Since(begin)
	var seqs []int64
	if err := json.Unmarshal([]byte(text), &seqs); err != nil {
		return nil, 0, fmt.Errorf("read the first pending entries: %w", err)
	}
	for _, seq := range seqs {
		b.Head += float64(seq) / float64(len(seqs))
	}
	b.States = []Count{{State: Pending, Oldest: seconds(oldest)}, {State: Waiting}, {State: Held}, {State: Dead}, {State: Skipped}}
	return s.d.Ints(seqs), first, nil
}

// countStates counts each state. For the names of a state with more rows than the limit, it sets an equal portion of each slot.
func (s *Store) countStates(ctx context.Context, db queryer, b *Backlog, heads any, first int64, l *limits) error {
	var n [5]int64 // by state
	var all, deliveriesSpan, heldSpan, deadSpan int64
	err := db.QueryRowContext(ctx, s.q.backlog.states, l.state+1, l.skipped+1, heads).Scan(
		&n[0], &n[1], &n[2], &n[3], &n[4], &all, &deliveriesSpan, &heldSpan, &deadSpan)
	if err != nil {
		return err
	}
	spans := [5]int64{b.Last - first + 1, deliveriesSpan, heldSpan, deadSpan, deliveriesSpan}
	portions := [5]*int64{&l.pending, &l.waiting, &l.held}
	for i, state := range States {
		b.States[i].Count = min(n[i], l.state)
		more := n[i] > l.state || state == Skipped && all > l.skipped
		if more {
			b.Span[state] = max(n[i], spans[i])
		}
		if p := portions[i]; p != nil {
			if *p = l.state; more {
				*p /= int64(s.SlotCount())
			}
		}
	}
	if n[4] == 0 {
		l.skipped = 0 // there is nothing to look for again
	}
	return nil
}

// countNames counts by destination, tenant and topic.
func (s *Store) countNames(ctx context.Context, db queryer, b *Backlog, heads any, l limits) error {
	rows, err := db.QueryContext(ctx, s.q.backlog.names, l.state, l.skipped, heads, l.pending, l.waiting, l.held)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var c Count
		var destination, tenant, topic string
		var oldest sql.NullFloat64
		if err := rows.Scan(&c.State, &destination, &tenant, &topic, &c.Count, &oldest); err != nil {
			return err
		}
		c.Oldest = seconds(oldest)
		if c.State != Pending {
			all := &b.States[slices.Index(States, c.State)]
			all.Oldest = max(all.Oldest, c.Oldest)
			c.Name = destination
			b.Destinations = append(b.Destinations, c)
		}
		c.Name = tenant
		b.Tenants = append(b.Tenants, c)
		c.Name = topic
		b.Topics = append(b.Topics, c)
	}
	b.Destinations, b.Tenants, b.Topics = merged(b.Destinations), merged(b.Tenants), merged(b.Topics)
	return rows.Err()
}

// merged adds up counts of one state and name, and sorts them by state, then by name.
func merged(list []Count) []Count {
	rank := func(s State) int { return slices.Index(States, s) }
	slices.SortFunc(list, func(a, b Count) int { return cmp.Or(rank(a.State)-rank(b.State), cmp.Compare(a.Name, b.Name)) })
	sum := list[:0]
	for _, c := range list {
		if n := len(sum) - 1; n >= 0 && sum[n].State == c.State && sum[n].Name == c.Name {
			sum[n].Count += c.Count
			sum[n].Oldest = max(sum[n].Oldest, c.Oldest)
			continue
		}
		sum = append(sum, c)
	}
	return sum
}

func seconds(v sql.NullFloat64) time.Duration { return time.Duration(v.Float64 * float64(time.Second)) }

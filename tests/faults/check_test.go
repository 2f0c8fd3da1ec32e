package faults_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/tests/faults"
)

var start = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

// story builds a history: three events of one key, one of another, one rolled back, and their arrivals as they should be.
type story struct{ faults.History }

func event(id, key string, n int64) faults.Event {
	return faults.Event{ID: id, Key: key, N: n, Ordered: true, Plan: 1} // kafka://all, and kafka://big when the amount is above 500
}

func good() *story {
	s := &story{}
	for i := range 3 {
		s.commit(event(fmt.Sprint("a", i), "a", int64(i+1)), 100*i)
	}
	s.commit(event("b", "b", 1), 300)
	s.Transactions = append(s.Transactions, faults.Transaction{
		ID: "undone", Outcome: faults.RolledBack, Events: []faults.Event{event("x", "a", 4)}, At: at(350),
	})
	for _, tx := range s.Transactions[:4] {
		s.arrive("kafka://all", tx.Events[0], int(tx.At.Sub(start).Milliseconds())+10)
	}
	return s
}

func (s *story) commit(e faults.Event, ms int) {
	s.Transactions = append(s.Transactions, faults.Transaction{
		ID: "tx-" + e.ID, Outcome: faults.Committed, Row: true, Events: []faults.Event{e}, At: at(ms),
	})
}

func (s *story) arrive(destination string, e faults.Event, ms int) *faults.Arrival {
	payload := fmt.Sprintf(`{"id":%q,"key":%q,"n":%d,"ordered":%t,"plan":%d,"vip":%t,"amount":%d}`, e.ID, e.Key, e.N, e.Ordered, e.Plan, e.VIP, e.Amount)
	s.Arrivals = append(s.Arrivals, faults.Arrival{
		Destination: destination, At: at(ms), Payload: []byte(payload), Epoch: 1, CreatedAt: at(ms - 10),
	})
	return &s.Arrivals[len(s.Arrivals)-1]
}

func (s *story) fault(kind faults.Kind, from, to int) {
	s.Windows = append(s.Windows, faults.Window{Kind: kind, Start: at(from), End: at(to)})
}

func TestCheckerAcceptsWhatIsAsItShouldBe(t *testing.T) {
	t.Parallel()
	v := faults.Check(good().History)
	require.Empty(t, v.Violations())
	assert.Equal(t, 4, v.Committed)
	assert.Equal(t, 1, v.RolledBack)
	assert.Equal(t, 4, v.Wanted)
	assert.Equal(t, 4, v.Arrived)
	assert.Zero(t, v.Duplicates)
}

func TestCheckerFindsEveryBrokenPromise(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil func(s *story)
		want  map[faults.Violation]int
	}{
		{"lost", func(s *story) { s.Arrivals = s.Arrivals[:3] }, map[faults.Violation]int{faults.Lost: 1}},
		{"nothing arrived", func(s *story) { s.Arrivals = nil }, map[faults.Violation]int{faults.Lost: 4}},
		{"lost at one of two destinations", func(s *story) {
			e := event("c", "c", 1)
			e.Amount = 501
			s.commit(e, 400)
			s.arrive("kafka://all", e, 410)
		}, map[faults.Violation]int{faults.Lost: 1}},
		{
			"rolled back", func(s *story) { s.arrive("kafka://all", event("x", "a", 4), 400) },
			map[faults.Violation]int{faults.Phantom: 1},
		},
		{"rolled back to a savepoint", func(s *story) {
			s.Transactions[0].Undone = []faults.Event{event("y", "y", 1)}
			s.arrive("kafka://all", event("y", "y", 1), 400)
		}, map[faults.Violation]int{faults.Phantom: 1}},
		{
			"condition not met", func(s *story) { s.arrive("kafka://big", event("b", "b", 1), 400) },
			map[faults.Violation]int{faults.Unwanted: 1},
		},
		{
			"never written", func(s *story) { s.arrive("kafka://all", event("z", "z", 1), 400) },
			map[faults.Violation]int{faults.Stranger: 1},
		},
		{
			"no JSON", func(s *story) { s.arrive("kafka://all", event("b", "b", 1), 400).Payload = []byte("}") },
			map[faults.Violation]int{faults.Stranger: 1},
		},
		{"another payload", func(s *story) {
			s.Arrivals = s.Arrivals[:3]
			s.arrive("kafka://all", event("b", "b", 2), 400)
		}, map[faults.Violation]int{faults.Changed: 1, faults.Lost: 1}},
		{"overtaken", func(s *story) {
			s.Arrivals[0], s.Arrivals[1] = s.Arrivals[1], s.Arrivals[0]
		}, map[faults.Violation]int{faults.OutOfOrder: 1}},
		{"a late repetition is no disorder", func(s *story) {
			s.fault(faults.KillOne, 0, 100)
			s.arrive("kafka://all", event("a0", "a", 1), 500)
		}, map[faults.Violation]int{}},
		{"no lock, no order", func(s *story) {
			for i := range 3 {
				s.Transactions[i].Events[0].Ordered = false
			}
			s.Arrivals = nil
			for _, i := range []int{2, 3, 0, 1} {
				s.arrive("kafka://all", s.Transactions[i].Events[0], 400)
			}
		}, map[faults.Violation]int{}},
		{"two partitions", func(s *story) {
			s.Arrivals[2].Partition = 1
		}, map[faults.Violation]int{faults.Torn: 1}},
		{
			"repeated without a cause", func(s *story) { s.arrive("kafka://all", event("b", "b", 1), 400) },
			map[faults.Violation]int{faults.Unexplained: 1},
		},
		{"repeated because the answer was late", func(s *story) {
			s.arrive("kafka://all", event("b", "b", 1), 400)
			s.Refusals = []faults.Refusal{{ID: "b", Destination: "kafka://all", At: at(390)}}
		}, map[faults.Violation]int{}},
		{"repeated long before the fault", func(s *story) {
			s.fault(faults.KillOne, 5000, 6000)
			s.arrive("kafka://all", event("b", "b", 1), 400)
		}, map[faults.Violation]int{faults.Unexplained: 1}},
		{"a former owner sends what was stored later", func(s *story) {
			s.Arrivals[1].Epoch = 2 // in use from 110 on
		}, map[faults.Violation]int{faults.StaleOwner: 2}},
		{"a former owner's old message arrives late", func(s *story) {
			for i := range s.Arrivals {
				s.Arrivals[i].Epoch = 2
			}
			s.fault(faults.Pause, 0, 900)
			s.arrive("kafka://all", event("a0", "a", 1), 1000).CreatedAt = at(-5)
		}, map[faults.Violation]int{}},
		{"left behind", func(s *story) {
			early, late := event("c", "c", 1), event("d", "d", 1)
			s.commit(early, 400)
			s.commit(late, 600)
			s.arrive("kafka://all", late, 1000)
			s.arrive("kafka://all", early, 61_100)
		}, map[faults.Violation]int{faults.Stuck: 1}},
		{"all of them late", func(s *story) {
			early, late := event("c", "c", 1), event("d", "d", 1)
			s.commit(early, 400)
			s.commit(late, 60_000)
			s.arrive("kafka://all", late, 70_000)
			s.arrive("kafka://all", early, 71_000)
		}, map[faults.Violation]int{}},
		{"delay not kept", func(s *story) {
			e := event("c", "c", 1)
			e.Plan = 2 // redis://all, and redis://later after a second
			s.commit(e, 400)
			s.arrive("redis://all", e, 410)
			s.arrive("redis://later", e, 1300).CreatedAt = at(390)
		}, map[faults.Violation]int{faults.TooEarly: 1}},
		{"commit lost by the database", func(s *story) {
			s.Transactions[3].Row = false
		}, map[faults.Violation]int{faults.DatabaseLost: 1, faults.Phantom: 1}},
		{"rollback not done by the database", func(s *story) {
			s.Transactions[4].Row = true
		}, map[faults.Violation]int{faults.DatabaseKept: 1, faults.Lost: 1}},
		{"unknown, and committed", func(s *story) {
			s.Transactions[3].Outcome = faults.Unknown
		}, map[faults.Violation]int{}},
		{"unknown, and not committed", func(s *story) {
			s.Transactions[3].Outcome, s.Transactions[3].Row = faults.Unknown, false
		}, map[faults.Violation]int{faults.Phantom: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := good()
			c.spoil(s)
			v := faults.Check(s.History)
			assert.Equal(t, c.want, v.Violations())
			for kind := range c.want {
				assert.NotEmpty(t, v.Examples(kind))
			}
		})
	}
}

func TestDuplicatesAndRecoveryAreCountedByFault(t *testing.T) {
	t.Parallel()
	s := good()
	s.fault(faults.KillOne, 50, 250)
	s.fault(faults.CutKafka, 5000, 6000)
	e, late := event("c", "c", 1), event("d", "d", 1)
	s.commit(e, 5100)
	s.arrive("kafka://all", e, 5101)
	s.arrive("kafka://all", e, 6100)
	s.commit(late, 5500)
	s.arrive("kafka://all", late, 6700)
	s.arrive("kafka://all", event("b", "b", 1), 320)

	v := faults.Check(s.History)
	require.Empty(t, v.Violations())
	assert.Equal(t, 2, v.Duplicates)
	require.Len(t, v.Faults, 2)
	cut, kill := v.Faults[0], v.Faults[1]
	assert.Equal(t, faults.FaultFigures{
		Kind: faults.CutKafka, Times: 1, Lasted: time.Second, Events: 2, Duplicates: 1, Recovery: []time.Duration{700 * time.Millisecond},
	}, cut)
	assert.Equal(t, faults.FaultFigures{
		Kind: faults.KillOne, Times: 1, Lasted: 200 * time.Millisecond, Events: 2, Duplicates: 1, Recovery: []time.Duration{0},
	}, kill)
}

func TestSeedRepeatsTheSchedule(t *testing.T) {
	t.Parallel()
	take := func(seed uint64) []string {
		var list []string
		for s := range faults.Steps(seed, faults.Kinds, 3, 4*time.Second) {
			if list = append(list, fmt.Sprint(s)); len(list) == 100 {
				break
			}
		}
		return list
	}
	assert.Equal(t, take(1), take(1))
	assert.NotEqual(t, take(1), take(2))
}

func TestScheduleMeetsEveryFaultAndKeepsThemApart(t *testing.T) {
	t.Parallel()
	met, pairs := map[faults.Kind]int{}, 0
	n := 0
	for s := range faults.Steps(5, faults.Kinds, 3, 4*time.Second) {
		if n++; n > len(faults.Kinds) {
			break
		}
		met[s.Faults[0].Kind]++
		if len(s.Faults) == 2 {
			pairs++
		}
		for _, f := range s.Faults {
			for _, v := range f.Victims {
				require.Less(t, v, 3)
			}
			if f.Kind == faults.Pause {
				require.Greater(t, f.For, 4*time.Second)
			}
		}
	}
	for _, k := range faults.Kinds {
		assert.Equal(t, 1, met[k], k)
	}
	assert.NotZero(t, pairs)
}

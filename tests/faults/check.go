package faults

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Violation is a kind of broken promise.
type Violation string

// Violations.
const (
	Lost         Violation = "a committed event did not arrive"
	Phantom      Violation = "an event that was rolled back arrived"
	Unwanted     Violation = "an event arrived where its config does not want it"
	Stranger     Violation = "a message arrived that nobody wrote"
	Changed      Violation = "a payload was changed"
	OutOfOrder   Violation = "an event overtook an earlier one of its key"
	Torn         Violation = "a key is spread over partitions"
	StaleOwner   Violation = "an event was sent under a lease that had ended before the event was stored"
	Unexplained  Violation = "an event was sent again without a cause"
	Stuck        Violation = "a delivery was left behind by later ones to its destination"
	TooEarly     Violation = "a delayed event arrived before its time"
	DatabaseLost Violation = "an acknowledged commit is not in the database"
	DatabaseKept Violation = "a rolled back transaction is in the database"
)

// Verdict is what [Check] found.
type Verdict struct {
	Committed, RolledBack, Unknown int // events; unknown ones are in one of the other two as well
	Wanted, Arrived                int // deliveries; repeated ones are not in Arrived
	Duplicates                     int
	LateAnswers                    int            // duplicates outside of all faults, after the broker's answer had been too late
	Faults                         []FaultFigures // by kind, in the order of their names
	Slowest                        []Slow         // the deliveries that took longest from their commit, the slowest first
	violations                     map[Violation][]string
}

// FaultFigures is what one kind of fault did.
type FaultFigures struct {
	Kind       Kind
	Times      int
	Lasted     time.Duration // all of them together
	Events     int           // committed while it lasted
	Duplicates int
	Recovery   []time.Duration // after each: until all that was committed before its end had arrived everywhere; sorted
}

// Slow is a delivery, and how long after its commit it arrived.
type Slow struct {
	ID, Key, Destination string
	Committed            time.Time
	Took                 time.Duration
}

// Violations returns how often each promise was broken.
func (v *Verdict) Violations() map[Violation]int {
	counts := make(map[Violation]int, len(v.violations))
	for kind, list := range v.violations {
		counts[kind] = len(list)
	}
	return counts
}

// Examples returns some lines about a kind of violation.
func (v *Verdict) Examples(kind Violation) []string {
	return v.violations[kind][:min(5, len(v.violations[kind]))]
}

func (v *Verdict) add(kind Violation, format string, args ...any) {
	v.violations[kind] = append(v.violations[kind], fmt.Sprintf(format, args...))
}

// leftBehind is how long a delivery may go on waiting after one to the same destination has arrived that was committed later. Take-overs, and
// outages of one forwarder's connections, take a part of it; what waits longer was forgotten.
const leftBehind = time.Minute

// slack is what clocks and rounding to milliseconds may differ by.
const slack = 2 * time.Millisecond

// duplicateReach is how far before the first arrival, and after the second, a fault may lie to be the cause of a duplicate: what is cut off
// is noticed some time later, and a process may be hit right after it sent.
const duplicateReach = time.Second

// where is one event at one destination.
type where struct{ id, destination string }

// lane is one key at one destination.
type lane struct{ key, destination string }

// Check decides whether a history keeps the promises.
//
// What is committed is what the business rows say. An event that two destinations want is looked at twice. Order is by first arrivals: a
// repetition may come at any time. Transactions whose writer did not hold the key's lock have no order.
func Check(h History) *Verdict {
	v := &Verdict{violations: map[Violation][]string{}}
	written, acked := v.fates(h.Transactions)
	first := v.arrivals(h, written)

	for id, w := range written {
		if !w.committed {
			continue
		}
		for _, d := range w.event.Wants() {
			v.Wanted++
			if _, ok := first[where{id, d}]; ok {
				v.Arrived++
			} else {
				v.add(Lost, "%s (key %s, n %d) at %s", id, w.event.Key, w.event.N, d)
			}
		}
	}
	v.stale(h.Arrivals)
	v.stuck(acked, first)
	for at, arrived := range first {
		v.Slowest = append(v.Slowest, Slow{at.id, written[at.id].event.Key, at.destination, acked[at.id], arrived.Sub(acked[at.id])})
	}
	slices.SortFunc(v.Slowest, func(a, b Slow) int { return cmp.Or(cmp.Compare(b.Took, a.Took), cmp.Compare(a.ID, b.ID)) })
	v.Slowest = slices.Clone(v.Slowest[:min(40, len(v.Slowest))])
	v.recovery(h.Windows, written, acked, first)
	return v
}

type fate struct {
	event     Event
	committed bool
}

// fates returns what became of every event, and when the writers of the committed ones knew it.
func (v *Verdict) fates(transactions []Transaction) (map[string]fate, map[string]time.Time) {
	written, acked := map[string]fate{}, map[string]time.Time{}
	for _, tx := range transactions {
		switch {
		case tx.Outcome == Committed && !tx.Row:
			v.add(DatabaseLost, "%s", tx.ID)
		case tx.Outcome == RolledBack && tx.Row:
			v.add(DatabaseKept, "%s", tx.ID)
		case tx.Outcome == Unknown:
			v.Unknown += len(tx.Events)
		}
		for _, e := range tx.Events {
			written[e.ID] = fate{e, tx.Row}
			if tx.Row {
				v.Committed++
				acked[e.ID] = tx.At
			} else {
				v.RolledBack++
			}
		}
		for _, e := range tx.Undone {
			written[e.ID] = fate{e, false}
			v.RolledBack++
		}
	}
	return written, acked
}

// arrivals goes through what the brokers hold and returns the first arrival of every event at every destination.
func (v *Verdict) arrivals(h History, written map[string]fate) map[where]time.Time {
	first := map[where]time.Time{}
	last := map[lane]Event{}
	partition := map[lane]int{}
	duplicates := map[Kind]int{}
	refused := map[where]bool{}
	for _, x := range h.Refusals {
		refused[where{x.ID, x.Destination}] = true
	}
	for _, a := range h.Arrivals {
		var e Event
		if err := json.Unmarshal(a.Payload, &e); err != nil {
			v.add(Stranger, "%s: %.80q", a.Destination, a.Payload)
			continue
		}
		w, known := written[e.ID]
		switch {
		case !known:
			v.add(Stranger, "%s at %s", e.ID, a.Destination)
			continue
		case !w.committed:
			v.add(Phantom, "%s at %s", e.ID, a.Destination)
			continue
		case w.event != e || string(a.Payload) != string(e.payload()):
			v.add(Changed, "%s at %s", e.ID, a.Destination)
			continue
		case !slices.Contains(e.Wants(), a.Destination):
			v.add(Unwanted, "%s at %s", e.ID, a.Destination)
			continue
		}
		at := where{e.ID, a.Destination}
		if begun, again := first[at]; again {
			v.Duplicates++
			if kind, ok := cause(h.Windows, begun, a.At); ok {
				duplicates[kind]++
			} else if refused[at] {
				v.LateAnswers++
			} else {
				v.add(Unexplained, "%s at %s: %s and %s", e.ID, a.Destination, begun.Format(clock), a.At.Format(clock))
			}
			continue
		}
		first[at] = a.At
		if a.Destination == redisLater && a.At.Before(a.CreatedAt.Add(time.Second-slack)) {
			v.add(TooEarly, "%s: stored %s, arrived %s", e.ID, a.CreatedAt.Format(clock), a.At.Format(clock))
		}
		l := lane{e.Key, a.Destination}
		if p, seen := partition[l]; seen && p != a.Partition {
			v.add(Torn, "key %s of %s: partitions %d and %d", e.Key, a.Destination, p, a.Partition)
		}
		partition[l] = a.Partition
		if !e.Ordered || unordered[a.Destination] {
			continue
		}
		if before, seen := last[l]; seen && before.N > e.N {
			v.add(OutOfOrder, "key %s at %s: %d (%s) after %d (%s)", e.Key, a.Destination, e.N, e.ID, before.N, before.ID)
		} else {
			last[l] = e
		}
	}
	v.figures(h.Windows, duplicates)
	return first
}

const clock = "15:04:05.000"

// cause returns the fault that a duplicate comes from: the first that lies, with some reach, between the two arrivals.
func cause(windows []Window, first, again time.Time) (Kind, bool) {
	if again.Before(first) { // partitions of one destination are not in the order of time
		first, again = again, first
	}
	var found *Window
	for i := range windows {
		w := &windows[i]
		if w.Start.Before(again.Add(duplicateReach)) && w.End.After(first.Add(-duplicateReach)) && (found == nil || w.Start.Before(found.Start)) {
			found = w
		}
	}
	if found == nil {
		return "", false
	}
	return found.Kind, true
}

func (v *Verdict) figures(windows []Window, duplicates map[Kind]int) {
	byKind := map[Kind]*FaultFigures{}
	for _, w := range windows {
		f := byKind[w.Kind]
		if f == nil {
			f = &FaultFigures{Kind: w.Kind, Duplicates: duplicates[w.Kind]}
			byKind[w.Kind] = f
		}
		f.Times++
		f.Lasted += w.End.Sub(w.Start)
	}
	for _, kind := range slices.Sorted(maps.Keys(byKind)) {
		v.Faults = append(v.Faults, *byKind[kind])
	}
}

// stuck looks for deliveries that arrived long after others of their destination that were committed later.
func (v *Verdict) stuck(acked map[string]time.Time, first map[where]time.Time) {
	type arrived struct {
		where
		committed, at time.Time
	}
	byDestination := map[string][]arrived{}
	for w, at := range first {
		byDestination[w.destination] = append(byDestination[w.destination], arrived{w, acked[w.id], at})
	}
	for _, list := range byDestination {
		slices.SortFunc(list, func(a, b arrived) int { return b.committed.Compare(a.committed) })
		earliest := list[0] // of those that were committed later
		for _, x := range list {
			if behind := x.at.Sub(earliest.at); behind > leftBehind {
				v.add(Stuck, "%s at %s: committed %s, arrived %s, %s after %s, which was committed %s", x.id, x.destination, x.committed.Format(clock),
					x.at.Format(clock), behind.Round(time.Millisecond), earliest.id, earliest.committed.Format(clock))
			}
			if x.at.Before(earliest.at) {
				earliest = x
			}
		}
	}
}

// stale looks for events that were sent under an epoch of their slot although they were stored when a later one was in use: whoever sent
// them has read them when it did not own the slot any more. What had been read before may still arrive, however late.
func (v *Verdict) stale(arrivals []Arrival) {
	type lease struct {
		slot  int
		epoch int64
	}
	begun := map[lease]time.Time{}
	epochs := map[int][]int64{}
	for _, a := range arrivals {
		l := lease{a.Slot, a.Epoch}
		if t, ok := begun[l]; !ok || a.At.Before(t) {
			if !ok {
				epochs[a.Slot] = append(epochs[a.Slot], a.Epoch)
			}
			begun[l] = a.At
		}
	}
	for _, list := range epochs {
		slices.Sort(list)
	}
	for _, a := range arrivals {
		list := epochs[a.Slot]
		i, _ := slices.BinarySearch(list, a.Epoch+1)
		for _, later := range list[i:] {
			if since := begun[lease{a.Slot, later}]; a.CreatedAt.After(since.Add(slack)) {
				v.add(StaleOwner, "%s: slot %d, epoch %d, stored %s, when epoch %d had been in use since %s", a.Destination, a.Slot, a.Epoch,
					a.CreatedAt.Format(clock), later, since.Format(clock))
				break
			}
		}
	}
}

// recovery measures, for every fault, how long after its end the last of what had been committed before was delivered.
func (v *Verdict) recovery(windows []Window, written map[string]fate, acked map[string]time.Time, first map[where]time.Time) {
	type delivery struct{ committed, complete time.Time }
	var list []delivery
	for id, at := range acked {
		d := delivery{committed: at}
		for _, dest := range written[id].event.Wants() {
			t := first[where{id, dest}]
			if dest == redisLater {
				t = t.Add(-time.Second) // its delay
			}
			if t.After(d.complete) {
				d.complete = t
			}
		}
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b delivery) int { return a.committed.Compare(b.committed) })
	// The latest completion among all that were committed up to each.
	latest := make([]time.Time, len(list))
	for i, d := range list {
		if latest[i] = d.complete; i > 0 && latest[i-1].After(d.complete) {
			latest[i] = latest[i-1]
		}
	}
	before := func(t time.Time) int {
		i, _ := slices.BinarySearchFunc(list, t, func(d delivery, t time.Time) int { return cmp.Or(d.committed.Compare(t), 1) })
		return i
	}
	for _, w := range windows {
		i := slices.IndexFunc(v.Faults, func(f FaultFigures) bool { return f.Kind == w.Kind })
		f := &v.Faults[i]
		start, end := before(w.Start), before(w.End)
		f.Events += end - start
		took := time.Duration(0)
		if end > 0 {
			took = max(0, latest[end-1].Sub(w.End))
		}
		f.Recovery = append(f.Recovery, took)
	}
	for i := range v.Faults {
		slices.Sort(v.Faults[i].Recovery)
	}
}

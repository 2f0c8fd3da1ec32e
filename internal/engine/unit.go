package engine

import (
	"slices"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// Unit is what is worked on at once: an event on its first pass to all its targets, or one delivery of it that is retried.
type Unit struct {
	Event store.Event
	Retry *store.Delivery // nil on the first pass
	Epoch int64           // of the lease that the unit was read under

	key     int64
	keyed   bool  // whether it stands in the order of its key
	after   *Unit // the delivery before it of its key and target, which must be through first
	loaded  int64 // bytes of a payload that was fetched on its own
	scan    *scan // that found it held
	passed  bool  // its scan comes by the next of the key, which need not be made due
	verdict Verdict
}

// unitID names a unit among those in memory. The first pass has no target.
type unitID struct {
	seq    int64
	target string
}

func (u *Unit) id() unitID {
	if u.Retry != nil {
		return unitID{u.Event.Seq, u.Retry.Target}
	}
	return unitID{u.Event.Seq, ""}
}

// Whole reports whether the unit goes to all its targets: on its first pass, or when that failed because it could not be routed.
func (u *Unit) Whole() bool { return u.Retry == nil || u.Retry.Target == store.Unrouted }

// Attempts returns how often the unit was tried before.
func (u *Unit) Attempts() int {
	if !u.Whole() {
		return u.Retry.Attempts
	}
	return 0
}

// through reports whether the unit's delivery ended, or left the order of its key.
func (u *Unit) through() bool {
	return u.verdict.Fate == Decided && !slices.ContainsFunc(u.verdict.Results, func(r Result) bool { return r.holds() })
}

// delivered reports whether nothing is left to do for any target.
func (u *Unit) delivered() bool {
	return !slices.ContainsFunc(u.verdict.Results, func(r Result) bool { return r.State != "" })
}

// Verdict is what became of a unit.
type Verdict struct {
	Fate    Fate
	Results []Result // of a unit that is Decided, one for each target
	// Shown is set when middlewares of an application may have seen the event, see [Config.Returned].
	Shown bool
}

// Fate is what happens to a unit next.
type Fate int

// The fates of units.
const (
	Undecided Fate = iota // nothing was tried: it is as if the unit had not been read, and it is read again
	Decided               // the results are written
	Kept                  // the delivery stays held, as it is, for an earlier one of its key did not get through
	Blocked               // the delivery stays held, as it is, for its destination takes nothing now
)

// Result is what became of a unit for one target.
type Result struct {
	Target, Destination string      // as they are stored
	State               store.State // empty: delivered
	Attempts            int
	Wait                time.Duration
	Error               string
	Free                bool   // stands outside the order of its key from now on
	Parked              bool   // held because its destination takes nothing now, not by its key
	Cancels             string // why the event's other deliveries end when this one, of a retry, gave up; empty: they go on
}

// holds reports whether the result keeps later events of its key back.
func (r *Result) holds() bool { return r.State != "" && !r.Free }

package monitor

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/english"
	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// Bottleneck is something that holds events up, or will.
type Bottleneck struct {
	Where    string `json:"where"` // forwarders, database, pool, destination, tenant, retries, operators
	Severity Level  `json:"severity"`
	Finding  string `json:"finding"`
	Action   string `json:"action"`
}

// bottlenecks says what holds events up in s, the worst first. Nothing does when nothing waits.
func (t Thresholds) bottlenecks(s Snapshot) []Bottleneck {
	list := []Bottleneck{}
	add := func(where string, severity Level, action, finding string, args ...any) {
		list = append(list, Bottleneck{Where: where, Severity: severity, Finding: fmt.Sprintf(finding, args...), Action: action})
	}
	large := t.BacklogWarning
	if large <= 0 {
		large = 10_000
	}
	// The more of the backlog something holds, the worse it is.
	by := func(held int64) Level {
		switch {
		case held >= large:
			return Critical
		case held >= large/10:
			return Warning
		}
		return Info
	}

	if s.alive() == 0 && s.Totals.Open() > 0 {
		add("forwarders", Critical, "Start outbox run.", "No forwarder is alive, so nothing moves.")
	}
	if s.FreeSlots > 0 && s.alive() > 0 {
		add("forwarders", Warning, "Wait for the lease of the forwarder that left to end, 30 s by default; if it stays, see the logs of the forwarders.",
			"Slots without an owner, whose events wait: %d.", s.FreeSlots)
	}

	gone := map[string]bool{}
	for _, c := range s.Unreachable {
		held := s.heldBy(c)
		add("destination", max2(Warning, by(held)), "Bring it back. Nothing is lost, no attempts are used, and other destinations go on.",
			"%s has accepted nothing for %s and holds %s.", short(c.Name), round(s.Time.Sub(c.Since)), deliveries(held))
	}
	for _, c := range s.Paused {
		gone[c.Name] = true
		action := "Resume it when its time has come: outbox resume --" + string(c.Kind) + " " + english.ShellWord(c.Name)
		if c.Kind == store.PausedKey { // nothing counts by key
			add("operators", Info, action, "The key %s has been paused for %s.", c.Name, round(s.Time.Sub(c.Since)))
			continue
		}
		held := s.heldBy(c)
		add("operators", by(held), action, "The %s %s has been paused for %s and holds %s.", c.Kind, c.Name, round(s.Time.Sub(c.Since)), deliveries(held))
	}
	for _, g := range s.Destinations {
		if gone[g.Name] || s.UnreachableBy(g.Name) != nil || g.Name == Others || g.Totals.Held == 0 || g.Totals.Waiting == 0 {
			continue
		}
		add("retries", by(g.Totals.Held), "See why they fail: the errors of its attempts in the log, or outbox dead list once they gave up.",
			english.Either(g.Totals.Waiting, "At %s, %d delivery waits for its next attempt and holds %s of its key.",
				"At %s, %d deliveries wait for their next attempt and hold %s of their keys."),
			g.Name, g.Totals.Waiting, english.Count(g.Totals.Held, "later one", "later ones"))
	}

	if l, limit := level(time.Duration(s.QueryMillis*float64(time.Millisecond)), t.QueryTimeWarning, t.QueryTimeCritical); l != "" {
		add("database", l, "End long transactions, see that vacuum runs on the outbox tables, and look at the load of the server.",
			"A cheap question took %.0f ms: at or above %s.", s.QueryMillis, limit)
	}
	if use := s.Pool.Use(); t.PoolUse > 0 && use > t.PoolUse {
		add("pool", Warning, "Raise the size of the pool, or lower what uses it.", "%d of %d connections %s in use, and somebody had to wait for one %s.",
			s.Pool.InUse, s.Pool.Max, english.Either(s.Pool.InUse, "is", "are"), english.Count(s.Pool.Waits, "time", "times"))
	}

	if s.Rates != nil && s.alive() > 0 && s.Totals.Pending >= max(1, large/10) {
		switch in, out := s.Rates.In, s.Rates.Out; {
		case out == 0:
			add("forwarders", by(s.Totals.Pending), "See that a forwarder serves their tenants and topics, and the logs of the forwarders.",
				"%s pending, and nothing gets through.", english.Count(s.Totals.Pending, "event is", "events are"))
		case in >= out:
			add("forwarders", by(s.Totals.Pending), "Add a forwarder, raise --max-concurrent, or see why destinations are slow: outbox_publish_seconds.",
				"%.0f events a second come in and %.0f get through, so that the backlog of %d does not shrink.", in, out, s.Totals.Pending)
		default:
			add("forwarders", Info, "Wait, or add a forwarder.", "%s worked off in about %s at the rate of now.",
				english.Count(s.Totals.Pending, "pending event is", "pending events are"), round(time.Duration(float64(s.Totals.Pending)/(out-in)*float64(time.Second))))
		}
	}
	if pending := s.Totals.Pending; pending >= large/10 {
		for _, g := range s.Tenants {
			if g.Name != Others && len(s.Tenants) > 1 && g.Totals.Pending*2 > pending {
				add("tenant", Info, "Others are served beside it. If it must not use so much, give it a group of forwarders of its own (--tenants).",
					"The tenant %q has %d of %d pending events.", g.Name, g.Totals.Pending, pending)
			}
		}
	}

	slices.SortStableFunc(list, func(a, b Bottleneck) int { return cmp.Compare(b.Severity.rank(), a.Severity.rank()) })
	return list
}

func max2(a, b Level) Level {
	if a.rank() > b.rank() {
		return a
	}
	return b
}

// short is a name in a sentence, which a log may have too.
func short(name string) string { return cut(name, 200) }

// heldBy is what a control holds, as far as it is named. A destination without a topic is all of its publisher's.
func (s Snapshot) heldBy(c store.Control) (held int64) {
	list := s.Destinations
	if c.Kind == store.PausedTenant {
		list = s.Tenants
	}
	for _, g := range list {
		if g.Name == c.Name || c.Kind != store.PausedTenant && s.covers(c.Name, g.Name) {
			held += g.Totals.Held
		}
	}
	return held
}

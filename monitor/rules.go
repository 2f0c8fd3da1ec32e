package monitor

import (
	"fmt"
	"strings"
	"time"

	"github.com/bento-outbox/watermill-outbox/admin"
	"github.com/bento-outbox/watermill-outbox/internal/english"
	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// rules apply thresholds to a snapshot.
type rules struct {
	Thresholds
	s     Snapshot
	alive int
	large int64 // backlog
	list  []Finding
}

// findings returns what s breaks, the worst first.
func (t Thresholds) findings(s Snapshot) []Finding {
	r := rules{Thresholds: t, s: s, alive: s.alive(), large: t.BacklogWarning, list: []Finding{}}
	if r.large <= 0 {
		r.large = 10_000
	}
	r.forwarders()
	r.unreachable()
	r.backlog()
	r.throughput()
	r.database()
	r.deadLetters()
	r.pauses()
	r.retries()
	r.tenants()
	SortFindings(r.list)
	return r.list
}

// add adds a finding, unless l is empty.
func (r *rules) add(rule Rule, subject string, l Level, action, message string, args ...any) {
	if l != "" {
		r.list = append(r.list, Finding{Rule: rule, Subject: subject, Level: l, Message: fmt.Sprintf(message, args...), Action: action})
	}
}

// holds is the level of something that holds n deliveries or events of the backlog.
func (r *rules) holds(n int64) Level {
	switch {
	case n >= r.large:
		return Critical
	case n >= r.large/10:
		return Warning
	}
	return Info
}

func (r *rules) forwarders() {
	if r.alive > 0 {
		if r.s.FreeSlots > 0 {
			r.add(ruleFreeSlots, "", Warning, "Wait for the lease of the forwarder that left to end, 30 s by default; if it stays, see the logs of the forwarders.",
				"Slots without an owner, whose events wait: %d.", r.s.FreeSlots)
		}
		return
	}
	open, l := r.s.Totals.Open(), Warning
	if open > 0 {
		l = Critical
	}
	r.add(RuleNoForwarders, "", l, "Start outbox run. If it is running, its log says why it cannot reach the database or join its group.",
		"No forwarder is alive; %s.", r.s.amount(open, "event or delivery waits", "events and deliveries wait", store.Pending, store.Waiting, store.Held))
}

func (r *rules) unreachable() {
	for _, u := range r.s.Unreachable {
		gone, l, reason := r.s.Time.Sub(u.Since), Warning, ""
		if r.UnreachableCritical > 0 && gone >= r.UnreachableCritical {
			l = Critical
		}
		if u.Reason != "" {
			reason = ": " + strings.TrimRight(u.Reason, ".")
		}
		r.add(RuleUnreachable, u.Name, l, "Bring the destination back. Its deliveries are held without using attempts, and go on by themselves.",
			"%s has accepted nothing for %s%s.", short(u.Name), round(gone), reason)
	}
}

func (r *rules) backlog() {
	const bottlenecks = "See the bottlenecks: they say what holds it up."
	counted := r.s.Totals.Pending + r.s.Totals.Held
	l, limit := level(r.s.Backlog(), r.BacklogWarning, r.BacklogCritical)
	if r.s.Span.Pending+r.s.Span.Held > 0 {
		r.add(RuleBacklog, "", l, bottlenecks, "More than %d events and deliveries wait to go, and their event numbers span %d: at or above %d.", counted, r.s.Backlog(), limit)
	} else {
		r.add(RuleBacklog, "", l, bottlenecks, "%s to go: at or above %d.", r.s.amount(counted, "event or delivery waits", "events and deliveries wait"), limit)
	}

	oldest := time.Duration(r.s.OldestSeconds * float64(time.Second))
	l, age := level(oldest, r.OldestAgeWarning, r.OldestAgeCritical)
	action := "See the bottlenecks. If all else is well, a tenant or topic may have no forwarder that serves it."
	if len(r.s.Paused) > 0 {
		action = "Something is paused: outbox stats says what. Resume it when its time has come; else see the bottlenecks."
	}
	r.add(RuleOldestAge, "", l, action, "The oldest event has waited for %s: at or above %s.", round(oldest), age)
}

func (r *rules) throughput() {
	if r.s.Rates == nil {
		return
	}
	pending, in, out := r.s.size(store.Pending), r.s.Rates.In, r.s.Rates.Out
	if r.MinRate > 0 && r.RateBacklog >= 0 && pending >= r.RateBacklog && out < r.MinRate {
		r.add(RuleLowRate, "", Warning, "See the bottlenecks: a slow destination, a slow database, or too few forwarders.",
			"%.1f events a second get through while %s pending: below %g.", out, r.s.amount(r.s.Totals.Pending, "is", "are", store.Pending), r.MinRate)
	}
	if r.alive == 0 || pending < max(1, r.large/10) {
		return
	}
	events := r.s.amount(r.s.Totals.Pending, "event is", "events are", store.Pending)
	switch {
	case out == 0:
		r.add(ruleThroughput, "", r.holds(pending), "See that a forwarder serves their tenants and topics, and the logs of the forwarders.",
			"%s pending, and nothing gets through.", capital(events))
	case in >= out:
		r.add(ruleThroughput, "", r.holds(pending), "Add a forwarder, raise --max-concurrent, or see why destinations are slow: outbox_publish_seconds.",
			"%.0f events a second come in and %.0f get through, so that the backlog does not shrink: %s pending.", in, out, events)
	default:
		most := "about"
		if r.s.Span.Pending > 0 {
			most = "at most"
		}
		r.add(ruleThroughput, "", Info, "Wait, or add a forwarder.", "%s pending, done in %s %s at this rate.",
			capital(events), most, round(time.Duration(float64(pending)/(out-in)*float64(time.Second))))
	}
}

func (r *rules) database() {
	took := time.Duration(r.s.QueryMillis * float64(time.Millisecond))
	l, limit := level(took, r.QueryTimeWarning, r.QueryTimeCritical)
	r.add(RuleQueryTime, "", l, "Look for long transactions that keep deleted rows from being removed (pg_stat_activity, xact_start), for vacuum that does not run, and for other load.",
		"The database needed %s for a cheap query: at or above %s.", round(took), limit)
	if use := r.s.Pool.Use(); r.PoolUse > 0 && use > r.PoolUse {
		r.add(RulePool, "", Warning, "Raise the size of the pool if the database allows it, or lower what uses it: events in flight, other parts of the application.",
			"%d of %d connections of the pool %s in use: above %.0f %%.", r.s.Pool.InUse, r.s.Pool.Max, english.Either(r.s.Pool.InUse, "is", "are"), r.PoolUse*100)
	}
}

func (r *rules) deadLetters() {
	l, limit := level(r.s.size(store.Dead), r.DeadWarning, r.DeadCritical)
	r.add(RuleDeadLetters, "", l, "outbox dead list shows them. Fix the cause, then: outbox dead replay --all",
		"%s gave up: at or above %d.", capital(r.s.amount(r.s.Totals.Dead, "delivery", "deliveries", store.Dead)), limit)
}

func (r *rules) pauses() {
	for _, p := range r.s.Paused {
		action := "Resume it when its time has come: outbox resume --" + string(p.Kind) + " " + english.ShellWord(p.Name)
		since := round(r.s.Time.Sub(p.Since))
		if p.Kind == admin.Key { // nothing counts by key
			r.add(rulePaused, "key "+p.Name, Info, action, "The key %s has been paused for %s.", p.Name, since)
			continue
		}
		held := r.s.heldBy(p)
		r.add(rulePaused, string(p.Kind)+" "+p.Name, r.holds(r.s.scaled(held, store.Held)), action, "The %s %s has been paused for %s and holds %s.",
			p.Kind, p.Name, since, r.s.amount(held, "delivery", "deliveries", store.Held))
	}
}

// retries finds destinations whose deliveries wait for another attempt and hold later ones of their keys.
func (r *rules) retries() {
	paused := map[string]bool{}
	for _, p := range r.s.Paused {
		paused[p.Name] = true
	}
	for _, g := range r.s.Destinations {
		if paused[g.Name] || r.s.UnreachableBy(g.Name) != nil || g.Name == Others || g.Totals.Held == 0 || g.Totals.Waiting == 0 {
			continue
		}
		r.add(ruleRetries, g.Name, r.holds(r.s.scaled(g.Totals.Held, store.Held)), "See why they fail: the errors of its attempts in the log, or outbox dead list once they gave up.",
			english.Either(g.Totals.Waiting, "At %s, %s for its next attempt and holds %s of its key.", "At %s, %s for their next attempt and hold %s of their keys."),
			g.Name, r.s.amount(g.Totals.Waiting, "delivery waits", "deliveries wait", store.Waiting), r.s.amount(g.Totals.Held, "later one", "later ones", store.Held))
	}
}

// tenants finds a tenant with most of the pending events.
func (r *rules) tenants() {
	pending, first := r.s.Totals.Pending, ""
	if r.s.Span.Pending > 0 {
		first = "the first "
	}
	if pending < r.large/10 || len(r.s.Tenants) == 1 {
		return
	}
	for _, g := range r.s.Tenants {
		if g.Name != Others && g.Totals.Pending*2 > pending {
			r.add(ruleTenant, g.Name, Info, "Others are served beside it. If it must not use so much, give it a group of forwarders of its own (--tenants).",
				"The tenant %q has %d of %s%d pending events.", g.Name, g.Totals.Pending, first, pending)
		}
	}
}

// amount is a number of things in words, with "more than" if one of states has more than was counted.
func (s Snapshot) amount(n int64, one, many string, states ...store.State) string {
	for _, state := range states {
		if *s.Span.of(state) > 0 {
			return fmt.Sprintf("more than %d %s", n, many)
		}
	}
	return english.Count(n, one, many)
}

func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// short is a name in a sentence, which a log may have too.
func short(name string) string { return cut(name, 200) }

// round is d as people say it.
func round(d time.Duration) time.Duration {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond)
	case d < time.Minute:
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}

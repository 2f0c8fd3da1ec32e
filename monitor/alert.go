package monitor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/english"
	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// Level is how bad something is.
type Level string

// The levels.
const (
	Info     Level = "info"
	Warning  Level = "warning"  // somebody should look today
	Critical Level = "critical" // somebody should look now
)

func (l Level) rank() int { return slices.Index([]Level{Info, Warning, Critical}, l) }

// Rule is what an alert is about.
type Rule string

// The rules.
const (
	RuleBacklog      Rule = "backlog"
	RuleQueryTime    Rule = "query_time"
	RuleLowRate      Rule = "low_rate"
	RulePool         Rule = "pool"
	RuleOldestAge    Rule = "oldest_age"
	RuleDeadLetters  Rule = "dead_letters"
	RuleUnreachable  Rule = "unreachable"
	RuleNoForwarders Rule = "no_forwarders"
)

// Rules are all rules.
var Rules = []Rule{
	RuleNoForwarders, RuleUnreachable, RuleBacklog, RuleOldestAge, RuleLowRate, RuleQueryTime, RulePool, RuleDeadLetters,
}

// Alert is a rule that a snapshot breaks.
type Alert struct {
	Rule    Rule      `json:"rule"`
	Subject string    `json:"subject,omitempty"` // the destination, of RuleUnreachable
	Level   Level     `json:"level"`
	Message string    `json:"message"`
	Action  string    `json:"action"` // what to do about it
	Since   time.Time `json:"since"`  // when the monitor saw it first, at any level
}

type alertKey struct {
	rule    Rule
	subject string
}

func (a Alert) key() alertKey { return alertKey{a.Rule, a.Subject} }

// alerts are the rules that s breaks, the worst first.
func (t Thresholds) alerts(s Snapshot) []Alert {
	list := []Alert{}
	add := func(rule Rule, subject string, l Level, action, message string, args ...any) {
		if l != "" {
			list = append(list, Alert{Rule: rule, Subject: subject, Level: l, Message: fmt.Sprintf(message, args...), Action: action})
		}
	}
	about := func(states ...store.State) string {
		if s.IsEstimated(states...) {
			return "about "
		}
		return ""
	}

	if alive := s.alive(); alive == 0 {
		l := Warning
		if s.Totals.Open() > 0 {
			l = Critical
		}
		add(RuleNoForwarders, "", l, "Start outbox run. If it is running, its log says why it cannot reach the database or join its group.",
			"No forwarder is alive; %s%s.", about(store.Pending, store.Waiting, store.Held), waiting(s.Totals.Open()))
	}
	for _, c := range s.Unreachable {
		gone := s.Time.Sub(c.Since)
		l := Warning
		if t.UnreachableCritical > 0 && gone >= t.UnreachableCritical {
			l = Critical
		}
		reason := ""
		if c.Reason != "" {
			reason = ": " + strings.TrimRight(c.Reason, ".")
		}
		add(RuleUnreachable, c.Name, l, "Bring the destination back. Its deliveries are held without using attempts, and go on by themselves.",
			"%s has accepted nothing for %s%s.", short(c.Name), round(gone), reason)
	}

	l, limit := level(s.Totals.Backlog(), t.BacklogWarning, t.BacklogCritical)
	add(RuleBacklog, "", l, "See the bottlenecks: they say what holds it up.",
		"%s%s to go: at or above %d.", capital(about(store.Pending, store.Held)), waiting(s.Totals.Backlog()), limit)

	oldest := time.Duration(s.OldestSeconds * float64(time.Second))
	l, age := level(oldest, t.OldestAgeWarning, t.OldestAgeCritical)
	action := "See the bottlenecks. If all else is well, a tenant or topic may have no forwarder that serves it."
	if len(s.Paused) > 0 {
		action = "Something is paused: outbox stats says what. Resume it when its time has come; else see the bottlenecks."
	}
	add(RuleOldestAge, "", l, action, "The oldest event has waited for %s: at or above %s.", round(oldest), age)

	if s.Rates != nil && t.MinRate > 0 && t.RateBacklog >= 0 && s.Totals.Pending >= t.RateBacklog && s.Rates.Out < t.MinRate {
		add(RuleLowRate, "", Warning, "See the bottlenecks: a slow destination, a slow database, or too few forwarders.",
			"%.1f events a second get through while %s%d are pending: below %g.", s.Rates.Out, about(store.Pending), s.Totals.Pending, t.MinRate)
	}

	took := time.Duration(s.QueryMillis * float64(time.Millisecond))
	l, age = level(took, t.QueryTimeWarning, t.QueryTimeCritical)
	add(RuleQueryTime, "", l, "Look for long transactions that keep deleted rows from being removed (pg_stat_activity, xact_start), for vacuum that does not run, and for other load.",
		"The database needed %s for a cheap question: at or above %s.", round(took), age)

	if use := s.Pool.Use(); t.PoolUse > 0 && use > t.PoolUse {
		add(RulePool, "", Warning, "Raise the size of the pool if the database allows it, or lower what uses it: events in flight, other parts of the application.",
			"%d of %d connections of the pool %s in use: above %.0f %%.", s.Pool.InUse, s.Pool.Max, english.Either(s.Pool.InUse, "is", "are"), t.PoolUse*100)
	}

	l, dead := level(s.Totals.Dead, t.DeadWarning, t.DeadCritical)
	add(RuleDeadLetters, "", l, "outbox dead list shows them. Put the cause right, then: outbox dead replay --all",
		"%s%s gave up: at or above %d.", capital(about(store.Dead)), deliveries(s.Totals.Dead), dead)

	slices.SortStableFunc(list, func(a, b Alert) int {
		return cmp.Or(b.Level.rank()-a.Level.rank(), slices.Index(Rules, a.Rule)-slices.Index(Rules, b.Rule), cmp.Compare(a.Subject, b.Subject))
	})
	return list
}

func (s Snapshot) alive() (n int) {
	for _, f := range s.Forwarders {
		if f.Alive {
			n++
		}
	}
	return n
}

// date says since when alerts are raised.
func (m *Monitor) date(list []Alert, now time.Time) {
	raised := map[alertKey]time.Time{}
	for i, a := range list {
		since, ok := m.since[a.key()]
		if !ok {
			since = now
		}
		raised[a.key()], list[i].Since = since, since.UTC()
	}
	m.since = raised
}

func waiting(n int64) string {
	return fmt.Sprintf("%d %s", n, english.Either(n, "event or delivery waits", "events and deliveries wait"))
}

func deliveries(n int64) string { return english.Count(n, "delivery", "deliveries") }

func capital(about string) string {
	if about == "" {
		return ""
	}
	return "About "
}

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

package monitor

import (
	"cmp"
	"slices"
	"time"
)

// Level is how bad a finding is.
type Level string

// The levels.
const (
	Info     Level = "info"
	Warning  Level = "warning"  // look at it today
	Critical Level = "critical" // look at it now
)

func (l Level) rank() int { return slices.Index([]Level{Info, Warning, Critical}, l) }

// Rule says what a finding is about.
type Rule string

// The rules that raise alerts.
const (
	RuleNoForwarders Rule = "no_forwarders"
	RuleUnreachable  Rule = "unreachable"
	RuleBacklog      Rule = "backlog"
	RuleOldestAge    Rule = "oldest_age"
	RuleLowRate      Rule = "low_rate"
	RuleQueryTime    Rule = "query_time"
	RulePool         Rule = "pool"
	RuleDeadLetters  Rule = "dead_letters"
)

// The rules that say what holds events up.
const (
	ruleFreeSlots  Rule = "free_slots"
	rulePaused     Rule = "paused"
	ruleRetries    Rule = "retries"
	ruleThroughput Rule = "throughput"
	ruleTenant     Rule = "tenant"
)

// alertRules are in the order of alerts of one level.
var alertRules = []Rule{
	RuleNoForwarders, RuleUnreachable, RuleBacklog, RuleOldestAge, RuleLowRate, RuleQueryTime, RulePool, RuleDeadLetters,
}

// Finding is something that an operator should know, and what to do about it.
type Finding struct {
	Rule    Rule   `json:"rule"`
	Subject string `json:"subject,omitempty"` // the destination, tenant or key, of rules that find several
	Level   Level  `json:"level"`
	Message string `json:"message"` // what is wrong, and why
	Action  string `json:"action"`  // what to do about it
	// Since is when the monitor first found it, at any level.
	Since time.Time `json:"since,omitzero"`
}

// IsAlert reports whether f is logged and exported as an alert: the rules with a constant raise alerts.
func (f Finding) IsAlert() bool { return slices.Contains(alertRules, f.Rule) }

// SortFindings sorts findings in place, the worst first, and alerts first among those of one level.
func SortFindings(list []Finding) {
	order := func(f Finding) int {
		if i := slices.Index(alertRules, f.Rule); i >= 0 {
			return i
		}
		return len(alertRules)
	}
	slices.SortStableFunc(list, func(a, b Finding) int {
		if c := cmp.Or(b.Level.rank()-a.Level.rank(), order(a)-order(b)); c != 0 || !a.IsAlert() {
			return c
		}
		return cmp.Compare(a.Subject, b.Subject)
	})
}

// Alerts returns the findings that are alerts, the worst first.
func (s Snapshot) Alerts() []Finding { return s.findings(true) }

// Bottlenecks returns the findings beside the alerts that say what holds events up, the worst first.
func (s Snapshot) Bottlenecks() []Finding { return s.findings(false) }

func (s Snapshot) findings(alerts bool) (list []Finding) {
	for _, f := range s.Findings {
		if f.IsAlert() == alerts {
			list = append(list, f)
		}
	}
	return list
}

// identity is what stays the same of a finding from one snapshot to the next.
type identity struct {
	rule    Rule
	subject string
}

func (f Finding) identity() identity { return identity{f.Rule, f.Subject} }

// date sets since when each finding has been there.
func (m *Monitor) date(list []Finding, now time.Time) {
	before := m.since
	m.since = map[identity]time.Time{}
	for i, f := range list {
		since, ok := before[f.identity()]
		if !ok {
			since = now
		}
		m.since[f.identity()], list[i].Since = since, since.UTC()
	}
}

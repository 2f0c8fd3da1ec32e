package monitor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

func defaults(t *testing.T, set Thresholds) Thresholds {
	t.Helper()
	full, err := set.withDefaults()
	require.NoError(t, err)
	return full
}

// well is a snapshot that breaks no rule.
func well() Snapshot {
	return Snapshot{Time: time.Date(2025, 3, 1, 10, 0, 0, 0, time.UTC), Exact: true, Forwarders: []Forwarder{{ID: "a", Alive: true}}}
}

func TestAlerts(t *testing.T) {
	t.Parallel()
	ago := func(s Snapshot, d time.Duration) time.Time { return s.Time.Add(-d) }
	for _, test := range []struct {
		name string
		set  Thresholds
		make func(*Snapshot)
		rule Rule // none: no alert at all
		want Level
		says string
	}{
		{name: "all well", make: func(*Snapshot) {}},
		{name: "backlog below", make: func(s *Snapshot) { s.Totals.Pending = 9_999 }},
		{name: "backlog warning", make: func(s *Snapshot) { s.Totals.Pending, s.Totals.Held = 4_000, 6_000 }, rule: RuleBacklog, want: Warning,
			says: "10000 events and deliveries wait to go: at or above 10000."},
		{name: "backlog critical", make: func(s *Snapshot) { s.Totals.Held = 50_000 }, rule: RuleBacklog, want: Critical},
		{name: "backlog estimated", make: func(s *Snapshot) { s.Totals.Held, s.Estimated = 50_000, []store.State{store.Held} }, rule: RuleBacklog, want: Critical, says: "About 50000"},
		{name: "what waits for its time is no backlog", make: func(s *Snapshot) { s.Totals.Waiting = 1_000_000 }},
		{name: "backlog of one's own", set: Thresholds{BacklogWarning: 5}, make: func(s *Snapshot) { s.Totals.Held = 5 }, rule: RuleBacklog, want: Warning},
		{name: "critical alone", set: Thresholds{BacklogCritical: 5}, make: func(s *Snapshot) { s.Totals.Held = 5 }, rule: RuleBacklog, want: Critical},
		{name: "no warning", set: Thresholds{BacklogWarning: -1}, make: func(s *Snapshot) { s.Totals.Held = 49_999 }},
		{name: "off", set: Thresholds{BacklogWarning: -1, BacklogCritical: -1}, make: func(s *Snapshot) { s.Totals.Held = 1 << 40 }},
		{name: "dead counted beside a backlog estimated", make: func(s *Snapshot) { s.Totals.Dead, s.Estimated = 2, []store.State{store.Pending} },
			rule: RuleDeadLetters, want: Warning, says: "2 deliveries gave up"},
		{name: "query time below", make: func(s *Snapshot) { s.QueryMillis = 499 }},
		{name: "query time warning", make: func(s *Snapshot) { s.QueryMillis = 500 }, rule: RuleQueryTime, want: Warning},
		{name: "query time critical", make: func(s *Snapshot) { s.QueryMillis = 1000 }, rule: RuleQueryTime, want: Critical, says: "needed 1s"},
		{name: "rate low without a backlog", make: func(s *Snapshot) { s.Totals.Pending, s.Rates = 999, &Rates{Out: 1} }},
		{name: "rate low with a backlog", make: func(s *Snapshot) { s.Totals.Pending, s.Rates = 1000, &Rates{Out: 99.9} }, rule: RuleLowRate, want: Warning,
			says: "99.9 events a second get through while 1000 are pending: below 100."},
		{name: "rate high enough", make: func(s *Snapshot) { s.Totals.Pending, s.Rates = 9_000, &Rates{Out: 100} }},
		{name: "rate unknown", make: func(s *Snapshot) { s.Totals.Pending = 9_000 }},
		{name: "rate off", set: Thresholds{MinRate: -1}, make: func(s *Snapshot) { s.Totals.Pending, s.Rates = 9_000, &Rates{} }},
		{name: "pool at the limit", make: func(s *Snapshot) { s.Pool = Pool{Max: 10, InUse: 9} }},
		{name: "pool above", make: func(s *Snapshot) { s.Pool = Pool{Max: 100, InUse: 91} }, rule: RulePool, want: Warning, says: "91 of 100 connections"},
		{name: "pool without limit", make: func(s *Snapshot) { s.Pool = Pool{InUse: 91} }},
		{name: "age warning", make: func(s *Snapshot) { s.OldestSeconds = 300 }, rule: RuleOldestAge, want: Warning},
		{name: "age critical", make: func(s *Snapshot) { s.OldestSeconds = 3600 }, rule: RuleOldestAge, want: Critical, says: "for 1h0m0s"},
		{name: "one dead letter", make: func(s *Snapshot) { s.Totals.Dead = 1 }, rule: RuleDeadLetters, want: Warning},
		{name: "many dead letters", make: func(s *Snapshot) { s.Totals.Dead = 1000 }, rule: RuleDeadLetters, want: Critical},
		{name: "unreachable", make: func(s *Snapshot) {
			s.Unreachable = []store.Control{{Name: "kafka://a", Since: ago(*s, time.Minute), Reason: "connection refused"}}
		}, rule: RuleUnreachable, want: Warning, says: "kafka://a has accepted nothing for 1m0s: connection refused."},
		{name: "unreachable for long", make: func(s *Snapshot) {
			s.Unreachable = []store.Control{{Name: "kafka://a", Since: ago(*s, 10*time.Minute)}}
		}, rule: RuleUnreachable, want: Critical},
		{name: "no forwarder, nothing to do", make: func(s *Snapshot) { s.Forwarders = nil }, rule: RuleNoForwarders, want: Warning},
		{name: "no forwarder alive", make: func(s *Snapshot) { s.Forwarders[0].Alive, s.Totals.Waiting = false, 1 }, rule: RuleNoForwarders, want: Critical},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := well()
			test.make(&s)
			alerts := defaults(t, test.set).alerts(s)
			if test.rule == "" {
				require.Empty(t, alerts)
				return
			}
			require.Len(t, alerts, 1)
			require.Equal(t, test.rule, alerts[0].Rule)
			require.Equal(t, test.want, alerts[0].Level)
			require.Contains(t, alerts[0].Message, test.says)
			require.NotEmpty(t, alerts[0].Action)
		})
	}
}

func TestAlertsTheWorstFirst(t *testing.T) {
	t.Parallel()
	s := well()
	s.Totals = Totals{Pending: 20_000, Dead: 5000}
	s.Unreachable = []store.Control{{Name: "b", Since: s.Time}, {Name: "a", Since: s.Time}}
	var got []string
	for _, a := range defaults(t, Thresholds{}).alerts(s) {
		got = append(got, string(a.Rule)+" "+a.Subject)
	}
	require.Equal(t, []string{"dead_letters ", "unreachable a", "unreachable b", "backlog "}, got)
}

func TestAlertsSince(t *testing.T) {
	t.Parallel()
	m := &Monitor{since: map[alertKey]time.Time{}}
	at := func(minute int) time.Time { return time.Date(2025, 3, 1, 10, minute, 0, 0, time.UTC) }
	date := func(minute int, list ...Alert) []Alert {
		m.date(list, at(minute))
		return list
	}
	require.Equal(t, at(1), date(1, Alert{Rule: RuleBacklog, Level: Warning})[0].Since)
	require.Equal(t, at(1), date(2, Alert{Rule: RuleBacklog, Level: Critical})[0].Since)
	date(3)
	require.Equal(t, at(4), date(4, Alert{Rule: RuleBacklog})[0].Since)
	list := date(5, Alert{Rule: RuleUnreachable, Subject: "a"}, Alert{Rule: RuleUnreachable, Subject: "b"})
	require.Equal(t, at(5), list[0].Since)
}

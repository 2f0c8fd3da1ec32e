package monitor

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/admin"
)

func defaults(t *testing.T, set Thresholds) Thresholds {
	t.Helper()
	full, err := set.withDefaults()
	require.NoError(t, err)
	return full
}

// well is a snapshot that breaks no rule.
func well() Snapshot {
	return Snapshot{Time: time.Date(2025, 3, 1, 10, 0, 0, 0, time.UTC), Forwarders: []Forwarder{{ID: "a", Alive: true}}}
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
		{name: "backlog not counted to its end", make: func(s *Snapshot) { s.Totals.Held, s.Span.Held = 10_000, 49_999 }, rule: RuleBacklog, want: Warning,
			says: "More than 10000 events and deliveries wait to go, and their event numbers span 49999: at or above 10000."},
		{name: "critical by the distance of numbers", make: func(s *Snapshot) { s.Totals.Held, s.Span.Held, s.Totals.Pending = 10_000, 49_000, 1000 }, rule: RuleBacklog, want: Critical,
			says: "More than 11000 events and deliveries wait to go, and their event numbers span 50000"},
		{name: "what waits for its time is no backlog", make: func(s *Snapshot) { s.Totals.Waiting = 1_000_000 }},
		{name: "backlog of one's own", set: Thresholds{BacklogWarning: 5}, make: func(s *Snapshot) { s.Totals.Held = 5 }, rule: RuleBacklog, want: Warning},
		{name: "critical alone", set: Thresholds{BacklogCritical: 5}, make: func(s *Snapshot) { s.Totals.Held = 5 }, rule: RuleBacklog, want: Critical},
		{name: "no warning", set: Thresholds{BacklogWarning: -1}, make: func(s *Snapshot) { s.Totals.Held = 49_999 }},
		{name: "off", set: Thresholds{BacklogWarning: -1, BacklogCritical: -1}, make: func(s *Snapshot) { s.Totals.Held = 1 << 40 }},
		{name: "dead letters beside a state with more", make: func(s *Snapshot) { s.Totals.Dead, s.Span.Waiting = 2, 50_000 },
			rule: RuleDeadLetters, want: Warning, says: "2 deliveries gave up"},
		{name: "dead letters not counted to their end", set: Thresholds{DeadCritical: 20_000}, make: func(s *Snapshot) { s.Totals.Dead, s.Span.Dead = 10_000, 20_000 },
			rule: RuleDeadLetters, want: Critical, says: "More than 10000 deliveries gave up: at or above 20000."},
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
			s.Unreachable = []Unreachable{{Name: "kafka://a", Since: ago(*s, time.Minute), Reason: "connection refused"}}
		}, rule: RuleUnreachable, want: Warning, says: "kafka://a has accepted nothing for 1m0s: connection refused."},
		{name: "unreachable for long", make: func(s *Snapshot) {
			s.Unreachable = []Unreachable{{Name: "kafka://a", Since: ago(*s, 10*time.Minute)}}
		}, rule: RuleUnreachable, want: Critical},
		{name: "no forwarder, nothing to do", make: func(s *Snapshot) { s.Forwarders = nil }, rule: RuleNoForwarders, want: Warning},
		{name: "no forwarder alive", make: func(s *Snapshot) { s.Forwarders[0].Alive, s.Totals.Waiting = false, 1 }, rule: RuleNoForwarders, want: Critical},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := well()
			test.make(&s)
			s.Findings = defaults(t, test.set).findings(s)
			alerts := s.Alerts()
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

func TestFindingsTheWorstFirst(t *testing.T) {
	t.Parallel()
	s := well()
	s.Totals = Totals{Pending: 20_000, Dead: 5000}
	s.Unreachable = []Unreachable{{Name: "b", Since: s.Time}, {Name: "a", Since: s.Time}}
	s.Paused = []admin.Pause{{Kind: admin.Tenant, Name: "z"}, {Kind: admin.Tenant, Name: "b"}}
	var got []string
	for _, f := range defaults(t, Thresholds{}).findings(s) {
		got = append(got, string(f.Rule)+" "+f.Subject)
	}
	require.Equal(t, []string{"dead_letters ", "unreachable a", "unreachable b", "backlog ", "paused tenant z", "paused tenant b"}, got)
}

func TestFindingsSince(t *testing.T) {
	t.Parallel()
	m := &Monitor{}
	at := func(minute int) time.Time { return time.Date(2025, 3, 1, 10, minute, 0, 0, time.UTC) }
	date := func(minute int, list ...Finding) []Finding {
		m.date(list, at(minute))
		return list
	}
	require.Equal(t, at(1), date(1, Finding{Rule: RuleBacklog, Level: Warning})[0].Since)
	require.Equal(t, at(1), date(2, Finding{Rule: RuleBacklog, Level: Critical})[0].Since)
	date(3)
	require.Equal(t, at(4), date(4, Finding{Rule: RuleBacklog})[0].Since)
	list := date(5, Finding{Rule: RuleUnreachable, Subject: "a"}, Finding{Rule: RuleUnreachable, Subject: "b"})
	require.Equal(t, at(5), list[0].Since)
}

func TestBottlenecks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		make func(*Snapshot)
		rule Rule // none: no bottleneck
		want Level
		says string
	}{
		{name: "all well", make: func(*Snapshot) {}},
		{name: "nobody forwards, which an alert says", make: func(s *Snapshot) { s.Forwarders, s.FreeSlots, s.Totals.Held = nil, 64, 1 }},
		{name: "slots without owner", make: func(s *Snapshot) { s.FreeSlots = 3 }, rule: ruleFreeSlots, want: Warning, says: "wait: 3."},
		{name: "destination gone, which an alert says", make: func(s *Snapshot) {
			s.Unreachable = []Unreachable{{Name: "a", Since: s.Time}}
			s.Destinations = []Group{{Name: "a", Totals: Totals{Held: 20_000, Waiting: 5}}}
		}},
		{name: "publisher paused", make: func(s *Snapshot) {
			s.Paused = []admin.Pause{{Kind: admin.Destination, Name: "kafka://", Since: s.Time}}
			s.Destinations = []Group{{Name: "kafka://a", Totals: Totals{Held: 600}}, {Name: "kafka://b", Totals: Totals{Held: 500}}, {Name: "b", Totals: Totals{Held: 1}}}
		}, rule: rulePaused, want: Warning, says: "holds 1100"},
		{name: "tenant paused", make: func(s *Snapshot) {
			s.Paused = []admin.Pause{{Kind: admin.Tenant, Name: "acme", Since: s.Time}}
			s.Tenants = []Group{{Name: "acme", Totals: Totals{Held: 6}}}
		}, rule: rulePaused, want: Info, says: "holds 6 deliveries"},
		{name: "a pause that holds more than is counted", make: func(s *Snapshot) {
			s.Paused = []admin.Pause{{Kind: admin.Tenant, Name: "acme", Since: s.Time}}
			s.Tenants = []Group{{Name: "acme", Totals: Totals{Held: 5000}}}
			s.Totals.Held, s.Span.Held = 10_000, 20_000
		}, rule: rulePaused, want: Critical, says: "holds more than 5000 deliveries"},
		{name: "key paused", make: func(s *Snapshot) {
			s.Paused = []admin.Pause{{Kind: admin.Key, Name: "order:1", Since: s.Time}}
		}, rule: rulePaused, want: Info, says: "order:1 has been paused"},
		{name: "retries hold keys", make: func(s *Snapshot) {
			s.Destinations = []Group{{Name: "a", Totals: Totals{Held: 1500, Waiting: 7}}}
		}, rule: ruleRetries, want: Warning, says: "7 deliveries wait for their next attempt and hold 1500"},
		{name: "too slow", make: func(s *Snapshot) { s.Totals.Pending, s.Rates = 20_000, &Rates{In: 500, Out: 300} }, rule: ruleThroughput, want: Critical,
			says: "500 events a second come in and 300 get through"},
		{name: "catching up", make: func(s *Snapshot) { s.Totals.Pending, s.Rates = 20_000, &Rates{In: 100, Out: 300} }, rule: ruleThroughput, want: Info, says: "1m40s"},
		{name: "catching up with more than is counted", make: func(s *Snapshot) {
			s.Totals.Pending, s.Span.Pending, s.Rates = 10_000, 20_000, &Rates{In: 100, Out: 300}
		},
			rule: ruleThroughput, want: Info, says: "More than 10000 events are pending, done in at most 1m40s"},
		{name: "stuck", make: func(s *Snapshot) { s.Totals.Pending, s.Rates = 2_000, &Rates{} }, rule: ruleThroughput, want: Warning, says: "nothing gets through"},
		{name: "a loud tenant", make: func(s *Snapshot) {
			s.Totals.Pending = 2_000
			s.Tenants = []Group{{Name: "loud", Totals: Totals{Pending: 1500}}, {Name: "quiet", Totals: Totals{Pending: 500}}}
		}, rule: ruleTenant, want: Info, says: `"loud" has 1500 of 2000`},
		{name: "a loud tenant among the first", make: func(s *Snapshot) {
			s.Totals.Pending, s.Span.Pending = 10_000, 20_000
			s.Tenants = []Group{{Name: "loud", Totals: Totals{Pending: 7500}}, {Name: "quiet", Totals: Totals{Pending: 2500}}}
		}, rule: ruleTenant, want: Info, says: `"loud" has 7500 of the first 10000`},
		{name: "the only tenant", make: func(s *Snapshot) {
			s.Totals.Pending = 2_000
			s.Tenants = []Group{{Name: "loud", Totals: Totals{Pending: 2000}}}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := well()
			test.make(&s)
			s.Findings = defaults(t, Thresholds{}).findings(s)
			list := s.Bottlenecks()
			if test.rule == "" {
				require.Empty(t, list)
				return
			}
			require.Len(t, list, 1, "%v", list)
			require.Equal(t, test.rule, list[0].Rule)
			require.Equal(t, test.want, list[0].Level)
			require.Contains(t, list[0].Message, test.says)
			require.NotEmpty(t, list[0].Action)
		})
	}
}

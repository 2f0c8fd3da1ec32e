package monitor

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

func TestBottlenecks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		make  func(*Snapshot)
		where string // none: no bottleneck
		want  Level
		says  string
	}{
		{name: "all well", make: func(*Snapshot) {}},
		{name: "nobody forwards", make: func(s *Snapshot) { s.Forwarders, s.Totals.Held = nil, 1 }, where: "forwarders", want: Critical, says: "No forwarder"},
		{name: "slots without owner", make: func(s *Snapshot) { s.FreeSlots = 3 }, where: "forwarders", want: Warning, says: "wait: 3."},
		{name: "destination gone", make: func(s *Snapshot) {
			s.Unreachable = []store.Control{{Kind: store.Unreachable, Name: "a", Since: s.Time}}
			s.Destinations = []Group{{Name: "a", Totals: Totals{Held: 20_000, Waiting: 5}}}
		}, where: "destination", want: Critical, says: "holds 20000"},
		{name: "publisher paused", make: func(s *Snapshot) {
			s.Paused = []store.Control{{Kind: store.PausedDestination, Name: "kafka://", Since: s.Time}}
			s.Destinations = []Group{{Name: "kafka://a", Totals: Totals{Held: 600}}, {Name: "kafka://b", Totals: Totals{Held: 500}}, {Name: "b", Totals: Totals{Held: 1}}}
		}, where: "operators", want: Warning, says: "holds 1100"},
		{name: "tenant paused", make: func(s *Snapshot) {
			s.Paused = []store.Control{{Kind: store.PausedTenant, Name: "acme", Since: s.Time}}
			s.Tenants = []Group{{Name: "acme", Totals: Totals{Held: 6}}}
		}, where: "operators", want: Info, says: "holds 6"},
		{name: "key paused", make: func(s *Snapshot) {
			s.Paused = []store.Control{{Kind: store.PausedKey, Name: "order:1", Since: s.Time}}
		}, where: "operators", want: Info, says: "order:1 has been paused"},
		{name: "retries hold keys", make: func(s *Snapshot) {
			s.Destinations = []Group{{Name: "a", Totals: Totals{Held: 1500, Waiting: 7}}}
		}, where: "retries", want: Warning, says: "7 deliveries wait for their next attempt and hold 1500"},
		{name: "slow database", make: func(s *Snapshot) { s.QueryMillis = 700 }, where: "database", want: Warning, says: "700 ms"},
		{name: "pool", make: func(s *Snapshot) { s.Pool = Pool{Max: 10, InUse: 10, Waits: 5} }, where: "pool", want: Warning, says: "10 of 10"},
		{name: "too slow", make: func(s *Snapshot) { s.Totals.Pending, s.Rates = 20_000, &Rates{In: 500, Out: 300} }, where: "forwarders", want: Critical,
			says: "500 events a second come in and 300 get through"},
		{name: "catching up", make: func(s *Snapshot) { s.Totals.Pending, s.Rates = 20_000, &Rates{In: 100, Out: 300} }, where: "forwarders", want: Info, says: "1m40s"},
		{name: "stuck", make: func(s *Snapshot) { s.Totals.Pending, s.Rates = 2_000, &Rates{} }, where: "forwarders", want: Warning, says: "nothing gets through"},
		{name: "a loud tenant", make: func(s *Snapshot) {
			s.Totals.Pending = 2_000
			s.Tenants = []Group{{Name: "loud", Totals: Totals{Pending: 1500}}, {Name: "quiet", Totals: Totals{Pending: 500}}}
		}, where: "tenant", want: Info, says: `"loud" has 1500 of 2000`},
		{name: "the only tenant", make: func(s *Snapshot) {
			s.Totals.Pending = 2_000
			s.Tenants = []Group{{Name: "loud", Totals: Totals{Pending: 2000}}}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := well()
			test.make(&s)
			list := defaults(t, Thresholds{}).bottlenecks(s)
			if test.where == "" {
				require.Empty(t, list)
				return
			}
			require.Len(t, list, 1, "%v", list)
			require.Equal(t, test.where, list[0].Where)
			require.Equal(t, test.want, list[0].Severity)
			require.Contains(t, list[0].Finding, test.says)
			require.NotEmpty(t, list[0].Action)
		})
	}
}

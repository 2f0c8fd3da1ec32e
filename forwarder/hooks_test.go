package forwarder_test

import (
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// What a hook was told is compared with what the tables and the destinations say.
func TestHooksAreToldWhatHappens(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		var mu sync.Mutex
		tally, slots := map[string]int{}, 0
		count := func(what string, n int) {
			mu.Lock()
			defer mu.Unlock()
			tally[what] += n
		}
		told := func() map[string]int {
			mu.Lock()
			defer mu.Unlock()
			m := map[string]int{}
			for k, v := range tally {
				m[k] = v
			}
			return m
		}
		hooks := forwarder.Hooks{
			Published: func(a forwarder.Attempt) {
				count(fmt.Sprintf("%s %s %s attempt %d counted %v failed %v", a.TenantID, a.Topic, a.Destination, a.Number, a.Counted, a.Err != nil), 1)
				if a.Took <= 0 || a.Lag < a.Took || a.Lag > time.Hour {
					count("times that cannot be", 1)
				}
			},
			Died:    func(d string) { count("died "+d, 1) },
			Breaker: func(d string, open bool) { count(fmt.Sprintf("breaker of %s open %v", d, open), 1) },
			Read:    func(n int, _ time.Duration) { count("read", n) },
			Settled: func(n int, _ time.Duration) { count("settled", n) },
			Slots: func(n int) {
				mu.Lock()
				defer mu.Unlock()
				slots = n
			},
		}
		rec := newRecorder()
		rec.fail = func(topic string, m *message.Message) error {
			if topic == "bad" {
				return errors.New("no")
			}
			return refuse("down")(topic, m)
		}
		cfg := forwarder.Config{BreakerFailures: 1, BreakerProbe: 10 * time.Millisecond, Routes: routes(t), Subscriber: forwarder.SubscriberConfig{Hooks: hooks}}
		run(t, db, cfg, map[string]message.Publisher{"x": rec})
		m := keyed("a", "1")
		outbox.SetTenant(m, "acme")
		publish(t, db, "good", m)
		publish(t, db, "bad", keyed("b", "2"))
		publish(t, db, "down", keyed("c", "3"))
		eventually(t, "the destination is out of reach", func() bool { return told()["breaker of x:// open true"] == 1 })
		rec.setFail(failTopic("bad"))
		eventually(t, "it is back", func() bool { return told()["breaker of x:// open false"] == 1 })
		eventually(t, "nothing is left", func() bool {
			s := statuses(t, db)
			return s["SENT"] == 2 && s["DEAD"] == 1
		})
		eventually(t, "everything was told", func() bool { return told()["read"] == 3 && told()["settled"] >= 3 })
		got := told()
		require.Equal(t, 1, got["acme good good attempt 1 counted true failed false"], got)
		require.Equal(t, 1, got["died bad"], got)
		require.Positive(t, got["default down down attempt 1 counted false failed true"]+got[" down down attempt 1 counted false failed true"], got)
		require.Positive(t, got["default bad bad attempt 1 counted true failed true"]+got[" bad bad attempt 1 counted true failed true"], got)
		require.Zero(t, got["times that cannot be"], got)
		mu.Lock()
		defer mu.Unlock()
		require.Positive(t, slots)
	})
}

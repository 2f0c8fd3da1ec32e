package forwarder_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/router"
	"github.com/bento-outbox/watermill-outbox/schema"
)

func refuse(topics ...string) func(string, *message.Message) error {
	fail := failTopic(topics...)
	return func(topic string, m *message.Message) error {
		if fail(topic, m) != nil {
			return fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
		}
		return nil
	}
}

func count(t *testing.T, db *sql.DB, query string) int {
	t.Helper()
	var n int
	require.NoError(t, db.QueryRow(query).Scan(&n))
	return n
}

func requireOrder(t *testing.T, rec *recorder, topic string) {
	t.Helper()
	rec.mu.Lock()
	defer rec.mu.Unlock()
	next := map[string]int{}
	for _, m := range rec.got[topic] {
		if key := m.Metadata.Get(outbox.KeyAggregateID); key != "" {
			require.Equal(t, fmt.Sprint(next[key]), string(m.Payload), "key %s", key)
			next[key]++
		}
	}
}

// The policy gives up at the first failure, so an attempt that counted would kill an event.
func TestDestinationOutOfReachUsesNoAttemptsAndResumesInOrder(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		const keys, each, loose, config = 10, 30, 50, `{"targets":[{"destination":"a"},{"destination":"b"}]}`
		table := routes(t)
		rec := newRecorder()
		rec.fail = refuse("a")
		cfg := forwarder.Config{Routes: table, BreakerProbe: 30 * time.Millisecond}
		run(t, db, cfg, map[string]message.Publisher{"x": rec})
		for i := range each {
			var batch []*message.Message
			for k := range keys {
				batch = append(batch, configured(fmt.Sprint(k), fmt.Sprint(i), config))
			}
			publishRouted(t, db, table, "t", batch...)
		}
		for range loose {
			m := message.NewMessage(watermill.NewUUID(), []byte("loose"))
			outbox.SetRoutingConfig(m, []byte(config), "1")
			publishRouted(t, db, table, "t", m)
		}
		const all = keys*each + loose
		eventually(t, "the other destination has all", func() bool { return len(rec.payloads("b")) == all })
		eventually(t, "everything is held", func() bool {
			return count(t, db, `SELECT count(*) FROM outbox_deliveries WHERE state = 'held' AND attempts = 0`) == all
		})
		eventually(t, "people can see it", func() bool {
			return count(t, db, `SELECT count(*) FROM outbox_controls WHERE kind = 'unreachable' AND name = 'a'`) == 1
		})
		require.Equal(t, map[string]int{"NEW": all}, statuses(t, db))
		rec.setFail(nil)
		eventually(t, "everything is sent", func() bool { return statuses(t, db)["SENT"] == all })
		require.Len(t, rec.payloads("a"), all, "once")
		requireOrder(t, rec, "a")
		eventually(t, "the note is gone", func() bool { return count(t, db, `SELECT count(*) FROM outbox_controls`) == 0 })
	})
}

func TestWhatWasHeldForADestinationIsTakenOverByAnotherForwarder(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		rec := newRecorder()
		rec.fail = refuse("t")
		ctx := context.Background()
		f, err := forwarder.New(db, map[string]message.Publisher{"x": rec}, forwarder.Config{Routes: routes(t), BreakerProbe: time.Hour}, logger(t))
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		for i := range 20 {
			publish(t, db, "t", keyed("a", fmt.Sprint(i)), keyed("b", fmt.Sprint(i)))
		}
		eventually(t, "everything is held", func() bool { return count(t, db, `SELECT count(*) FROM outbox_deliveries WHERE state = 'held'`) == 40 })
		require.NoError(t, f.Close())
		require.NoError(t, <-done)
		rec.setFail(nil)
		run(t, db, forwarder.Config{Routes: routes(t)}, map[string]message.Publisher{"x": rec})
		eventually(t, "everything is sent", func() bool { return statuses(t, db)["SENT"] == 40 })
		require.Len(t, rec.payloads("t"), 40)
		requireOrder(t, rec, "t")
		eventually(t, "the note is gone", func() bool { return count(t, db, `SELECT count(*) FROM outbox_controls`) == 0 })
	})
}

func TestPauseHoldsAndResumeGoesOn(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		kind store.ControlKind
		name string
	}{{store.PausedDestination, "t"}, {store.PausedDestination, "x://"}, {store.PausedTenant, "acme"}, {store.PausedKey, "order:a"}} {
		t.Run(fmt.Sprint(test.kind, " ", test.name), func(t *testing.T) {
			t.Parallel()
			testdb.Each(t, func(t *testing.T, db *sql.DB) {
				ctx := context.Background()
				st, err := store.Open(ctx, db, schema.Config{})
				require.NoError(t, err)
				require.NoError(t, st.Pause(ctx, test.kind, test.name, "maintenance"))
				rec := newRecorder()
				run(t, db, forwarder.Config{DefaultPublisher: "x"}, map[string]message.Publisher{"x": rec, "y": rec})
				for i := range 20 {
					m := keyed("a", fmt.Sprint(i))
					outbox.SetTenant(m, "acme")
					publish(t, db, "t", m)
				}
				other := keyed("b", "flows")
				outbox.SetRoutingKey(other, "y://other")
				publish(t, db, "other", other)
				eventually(t, "others flow", func() bool { return len(rec.payloads("other")) == 1 })
				eventually(t, "everything is held", func() bool { return count(t, db, `SELECT count(*) FROM outbox_deliveries WHERE state = 'held'`) == 20 })
				require.Empty(t, rec.payloads("t"))
				require.NoError(t, st.Resume(ctx, test.kind, test.name))
				eventually(t, "everything is sent", func() bool { return statuses(t, db)["SENT"] == 21 })
				require.Len(t, rec.payloads("t"), 20)
				requireOrder(t, rec, "t")
			})
		})
	}
}

// Events keep coming while the destination comes and goes, and nothing sweeps: what is held must be found by the scans, and by what ends before it.
func TestDestinationThatComesAndGoesWhileEventsCome(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		const keys, each, all = 7, 80, 7 * 80
		rec := newRecorder()
		rec.fail = func(string, *message.Message) error {
			if rec.failures++; rec.failures%30 >= 27 {
				return syscall.ECONNREFUSED
			}
			return nil
		}
		run(t, db, forwarder.Config{
			BreakerFailures: 1, BreakerProbe: time.Millisecond, Routes: routes(t),
			Subscriber: forwarder.SubscriberConfig{SweepInterval: time.Hour, BatchSize: 20, SettleBatch: 10},
		}, map[string]message.Publisher{"x": rec})
		for i := range each {
			var batch []*message.Message
			for k := range keys {
				batch = append(batch, keyed(fmt.Sprint(k), fmt.Sprint(i)))
			}
			publish(t, db, "t", batch...)
		}
		eventually(t, "everything is sent", func() bool { return statuses(t, db)["SENT"] == all })
		require.Len(t, rec.payloads("t"), all, "once")
		requireOrder(t, rec, "t")
	})
}

// More targets of one event are held than a scan reads of a slot at once.
func TestEventWithManyHeldTargetsResumes(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		const targets, events = 150, 3
		table, err := router.NewTable(router.Config{Limits: router.Limits{Targets: targets, ConfigSize: 1 << 18, Nodes: 1 << 16}})
		require.NoError(t, err)
		list := make([]string, targets)
		for i := range list {
			list[i] = fmt.Sprintf(`{"name":"t%d","destination":"a"}`, i)
		}
		config := `{"targets":[` + strings.Join(list, ",") + `]}`
		rec := newRecorder()
		rec.fail = refuse("a")
		run(t, db, forwarder.Config{Routes: table, BreakerProbe: 10 * time.Millisecond}, map[string]message.Publisher{"x": rec})
		for i := range events {
			publishRouted(t, db, table, "t", configured("k", fmt.Sprint(i), config))
		}
		eventually(t, "everything is held", func() bool {
			return count(t, db, `SELECT count(*) FROM outbox_deliveries WHERE state = 'held'`) == targets*events
		})
		rec.setFail(nil)
		eventually(t, "everything is sent", func() bool { return statuses(t, db)["SENT"] == events })
		require.Len(t, rec.payloads("a"), targets*events)
	})
}

// What other groups hold fills all that a scan reads at once; what is the group's own comes after it.
func TestWhatOtherGroupsHoldDoesNotStopAScan(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		const foreign = 1100
		ctx := context.Background()
		st, err := store.Open(ctx, db, schema.Config{})
		require.NoError(t, err)
		for _, tenant := range []string{"ours", "theirs"} {
			require.NoError(t, st.Pause(ctx, store.PausedTenant, tenant, ""))
		}
		rec := newRecorder()
		group := func(tenant string) {
			run(t, db, forwarder.Config{
				HandlerName: tenant, Subscriber: forwarder.SubscriberConfig{Group: tenant, Tenants: []string{tenant}, SweepInterval: time.Hour},
			}, map[string]message.Publisher{"x": rec})
		}
		group("theirs")
		group("ours")
		of := func(tenant string) *message.Message {
			key := 0
			for store.Slot(tenant, fmt.Sprint("order:", key)) != 0 {
				key++
			}
			m := keyed(fmt.Sprint(key), tenant)
			outbox.SetTenant(m, tenant)
			return m
		}
		batch := make([]*message.Message, foreign)
		for i := range batch {
			batch[i] = of("theirs")
		}
		publish(t, db, "t", batch...)
		publish(t, db, "t", of("ours"))
		held := func() int { return count(t, db, `SELECT count(*) FROM outbox_deliveries WHERE state = 'held'`) }
		eventually(t, "everything is held", func() bool { return held() == foreign+1 })
		require.NoError(t, st.Resume(ctx, store.PausedTenant, "ours"))
		eventually(t, "ours is sent", func() bool { return len(rec.payloads("t")) == 1 })
		require.Equal(t, []string{"ours"}, rec.payloads("t"))
	})
}

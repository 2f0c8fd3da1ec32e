package forwarder_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	wm "github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/router"
)

var errDown = errors.New("down")

func failTopic(topics ...string) func(string, *message.Message) error {
	return func(topic string, _ *message.Message) error {
		for _, t := range topics {
			if t == topic {
				return errDown
			}
		}
		return nil
	}
}

// routes are tables whose policy "default" gives up at once, and "twice" after a second try 1 ms later.
func routes(t *testing.T, list ...router.Route) *router.Table {
	t.Helper()
	table, err := router.NewTable(router.Config{
		Policies: map[string]middleware.RetryPolicy{
			"default": {MaxAttempts: 1, Multiplier: 1},
			"twice":   {MaxAttempts: 2, Multiplier: 1, InitialInterval: time.Millisecond},
			"forever": {MaxAttempts: 100000, Multiplier: 1, InitialInterval: time.Millisecond},
		},
		Routes: router.Routes{Routes: list},
	})
	require.NoError(t, err)
	return table
}

func configured(key, payload, config string) *message.Message {
	m := keyed(key, payload)
	outbox.SetRoutingConfig(m, []byte(config), "1")
	return m
}

func publishRouted(t *testing.T, db *sql.DB, table *router.Table, topic string, msgs ...*message.Message) {
	t.Helper()
	p, err := outbox.NewPublisher(db, outbox.Config{Dialect: dialect(db), Routes: table}, nil)
	require.NoError(t, err)
	require.NoError(t, p.Publish(topic, msgs...))
}

// run forwards until the test ends.
func run(t *testing.T, db *sql.DB, cfg forwarder.Config, pubs map[string]message.Publisher) *forwarder.Forwarder {
	t.Helper()
	ctx := context.Background()
	f, err := forwarder.New(db, pubs, cfg, logger(t))
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		require.NoError(t, f.Close())
		require.NoError(t, <-done)
	})
	return f
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	await.That(t, f, what)
}

func TestTargetsAreIndependentByDefault(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		table := routes(t)
		const config = `{"targets":[{"destination":"a"},{"destination":"b","retry_policy":"forever"},
			{"destination":"c","conditions":{"payload.n":{"$gt":5}}},{"destination":"d"}]}`
		publishRouted(t, db, table, "t", configured("k", `{"n":1}`, config), configured("k", `{"n":9}`, config))
		rec := newRecorder()
		rec.fail = failTopic("b", "d")
		run(t, db, forwarder.Config{Routes: table}, map[string]message.Publisher{"x": rec})
		eventually(t, "b waits, d is dead", func() bool { return statuses(t, db)["FAILED"] == 2 && len(rec.payloads("c")) == 1 })
		rec.setFail(failTopic("d"))
		eventually(t, "b recovers", func() bool { return len(rec.payloads("b")) == 2 })
		eventually(t, "d is left", func() bool { return statuses(t, db)["DEAD"] == 2 })
		for topic, want := range map[string][]string{
			"a": {`{"n":1}`, `{"n":9}`}, "b": {`{"n":1}`, `{"n":9}`}, "c": {`{"n":9}`}, "d": nil,
		} {
			require.Equal(t, want, rec.payloads(topic), topic)
		}
	})
}

func TestAllOrNothingPlansEveryTargetBeforeItPublishesAny(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		table := routes(t)
		const config = `{"strategy":"all_or_nothing","targets":[{"destination":"a"},
			{"destination":"b","transform":{"include_fields":["x"]}},{"destination":"c","delay_seconds":1000}]}`
		publishRouted(t, db, table, "t", configured("k", `not JSON`, config), configured("k", `{"x":1}`, config))
		rec := newRecorder()
		drain(t, db, forwarder.Config{Routes: table}, map[string]message.Publisher{"x": rec})
		require.Equal(t, []string{`{"x":1}`}, rec.payloads("a"))
		require.Equal(t, map[string]int{"DEAD": 1, "NEW": 1}, statuses(t, db))
	})
}

func TestAllOrNothingCancelsWhatIsUnfinishedWhenOneGivesUp(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, policy string }{{"at the first pass", "default"}, {"at a retry", "twice"}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			testdb.Each(t, func(t *testing.T, db *sql.DB) {
				table := routes(t)
				config := fmt.Sprintf(`{"strategy":"all_or_nothing","targets":[{"destination":"a"},
					{"destination":"b","retry_policy":%q},{"destination":"c","delay_seconds":1000},{"destination":"d","retry_policy":"forever"}]}`, test.policy)
				publishRouted(t, db, table, "t", configured("k", `{}`, config))
				rec := newRecorder()
				rec.fail = failTopic("b", "d")
				run(t, db, forwarder.Config{Routes: table}, map[string]message.Publisher{"x": rec})
				eventually(t, "dead as a whole", func() bool { return statuses(t, db)["DEAD"] == 1 })
				rec.setFail(nil)
				// Later events of the key are not held.
				publishRouted(t, db, table, "d", keyed("k", "next"))
				eventually(t, "the key goes on", func() bool { return len(rec.payloads("d")) == 1 })
				require.Equal(t, []string{"next"}, rec.payloads("d"))
				require.Equal(t, []string{"{}"}, rec.payloads("a"))
				require.Empty(t, rec.payloads("b"))
			})
		})
	}
}

func TestFallback(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		table := routes(t)
		const config = `{"fallback":"f","targets":[{"destination":"a","conditions":{"payload.n":1},
			"transform":{"include_fields":["n"]},"retry_policy":"twice"}]}`
		publishRouted(t, db, table, "t",
			configured("k", `{"n":2,"m":1}`, config), // nobody matches
			configured("k", `{"n":1,"m":2}`, config)) // a gives up
		rec := newRecorder()
		rec.fail = failTopic("a")
		run(t, db, forwarder.Config{Routes: table}, map[string]message.Publisher{"x": rec})
		eventually(t, "the fallback has both", func() bool { return len(rec.payloads("f")) == 2 })
		require.Equal(t, []string{`{"n":2,"m":1}`, `{"n":1,"m":2}`}, rec.payloads("f"), "untransformed")
		require.Equal(t, "no target matched", rec.got["f"][0].Metadata.Get(outbox.KeyCause))
		require.Equal(t, "down", rec.got["f"][1].Metadata.Get(outbox.KeyCause))
		eventually(t, "both are sent", func() bool { return statuses(t, db)["SENT"] == 2 })
	})
}

func TestFallbackThatGivesUpIsDead(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		table := routes(t)
		const config = `{"fallback":"f","targets":[{"destination":"a"}]}`
		publishRouted(t, db, table, "t", configured("k", `{}`, config))
		rec := newRecorder()
		rec.fail = failTopic("a", "f")
		run(t, db, forwarder.Config{Routes: table, PoisonDestination: "poison"}, map[string]message.Publisher{"x": rec})
		eventually(t, "dead", func() bool { return statuses(t, db)["DEAD"] == 1 })
		var text string
		require.NoError(t, db.QueryRow(`SELECT error_message FROM outbox_events`).Scan(&text))
		require.Equal(t, "a: down; the fallback failed: down", text)
		require.Len(t, rec.payloads("poison"), 1)
		require.Equal(t, "down; the fallback failed: down", rec.got["poison"][0].Metadata.Get(wm.ReasonForPoisonedKey))
		require.Equal(t, "t", rec.got["poison"][0].Metadata.Get(wm.PoisonedTopicKey))
	})
}

func TestSkippedAndSampledOut(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		table := routes(t)
		publishRouted(t, db, table, "t",
			configured("k", `{}`, `{"targets":[{"destination":"a","conditions":{"payload.n":1}}]}`),
			configured("k", `{}`, `{"fallback":"f","targets":[{"destination":"a","sampling_rate":0}]}`))
		rec := newRecorder()
		drain(t, db, forwarder.Config{Routes: table}, map[string]message.Publisher{"x": rec})
		require.Equal(t, map[string]int{"SKIPPED": 1, "SENT": 1}, statuses(t, db))
		require.Empty(t, rec.got)
	})
}

func TestDelayIsDurableAndHoldsNobody(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		table := routes(t)
		publishRouted(t, db, table, "t",
			configured("k", `1`, `{"targets":[{"destination":"a","delay_seconds":1}]}`),
			configured("k", `2`, `{"targets":[{"destination":"a","delay_seconds":3600}]}`),
			configured("k", `3`, `{"targets":[{"destination":"a"}]}`))
		rec := newRecorder()
		drain(t, db, forwarder.Config{Routes: table}, map[string]message.Publisher{"x": rec})
		require.Contains(t, rec.payloads("a"), "3")
		run(t, db, forwarder.Config{Routes: table}, map[string]message.Publisher{"x": rec})
		eventually(t, "the delayed one arrives", func() bool { return slices.Contains(rec.payloads("a"), "1") })
		delayed := rec.got["a"][slices.Index(rec.payloads("a"), "1")]
		created, err := time.Parse(time.RFC3339Nano, delayed.Metadata.Get(outbox.KeyCreatedAt))
		require.NoError(t, err)
		require.GreaterOrEqual(t, time.Since(created), time.Second)
		require.Len(t, rec.payloads("a"), 2)
		eventually(t, "the other is left", func() bool { return maps.Equal(statuses(t, db), map[string]int{"SENT": 2, "NEW": 1}) })
	})
}

func TestHoldKeyHoldsLaterEventsBehindADeadOne(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		table := routes(t)
		const config = `{"targets":[{"destination":"a","on_dead":"hold_key"},{"destination":"b"}]}`
		rec := newRecorder()
		rec.fail = failTopic("a")
		run(t, db, forwarder.Config{Routes: table}, map[string]message.Publisher{"x": rec})
		publishRouted(t, db, table, "t", configured("k", `1`, config))
		eventually(t, "dead", func() bool { return statuses(t, db)["DEAD"] == 1 })
		rec.setFail(nil)
		publishRouted(t, db, table, "t", configured("k", `2`, config), configured("k", `3`, config), configured("other", `4`, config))
		eventually(t, "b has all", func() bool { return len(rec.payloads("b")) == 4 })
		eventually(t, "what is held is written down", func() bool { return statuses(t, db)["SENT"] == 1 })
		require.Equal(t, []string{"4"}, rec.payloads("a"))
		require.Equal(t, map[string]int{"SENT": 1, "DEAD": 1, "NEW": 2}, statuses(t, db))
	})
}

func TestConfigThatIsInvalidWhereItIsStoredIsDeadAndOthersFlow(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		_, err := db.Exec(`INSERT INTO outbox (topic, payload, routing_config, aggregate_id) VALUES
			('t', '{}', '{"targets":[{"destination":"a","conditions":{"payload.x":{"$gtt":1}}}]}', 'k'), ('t', '{}', '[]', 'k'), ('t', '2', NULL, 'k')`)
		require.NoError(t, err)
		rec := newRecorder()
		drain(t, db, forwarder.Config{}, map[string]message.Publisher{"x": rec})
		require.Equal(t, map[string]int{"DEAD": 2, "SENT": 1}, statuses(t, db))
		var text string
		require.NoError(t, db.QueryRow(`SELECT error_message FROM outbox_events WHERE seq = 1`).Scan(&text))
		require.Contains(t, text, "$gtt")
		require.Contains(t, text, "/targets/0/conditions")

		p, err := outbox.NewPublisher(db, outbox.Config{Routes: routes(t)}, nil)
		require.NoError(t, err)
		err = p.Publish("t", configured("k", "{}", `{"targets":[{}]}`))
		require.ErrorIs(t, err, router.ErrInvalidConfig)
		require.ErrorIs(t, err, outbox.ErrInvalidMessage)

		p, err = outbox.NewPublisher(db, outbox.Config{}, nil) // without routes
		require.NoError(t, err)
		for _, config := range []string{`[]`, `{"targets":`, `{} {}`, `null`} {
			require.ErrorIs(t, p.Publish("t", configured("k", "{}", config)), outbox.ErrInvalidMessage, config)
		}
		require.NoError(t, p.Publish("t", configured("k", "{}", `{"targets":[{}]}`)))
	})
}

func TestStaticRoutesAreReloadedWhileItRuns(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		live := router.NewLive(routes(t, router.Route{Topic: "orders.*", Config: `{"targets":[{"destination":"a"}]}`}))
		rec := newRecorder()
		run(t, db, forwarder.Config{Routes: live}, map[string]message.Publisher{"x": rec})
		publish(t, db, "orders.made", keyed("k", "1"))
		eventually(t, "the first route", func() bool { return len(rec.payloads("a")) == 1 })
		live.Store(routes(t, router.Route{Topic: "orders.*", Config: `{"targets":[{"destination":"b"}]}`}))
		publish(t, db, "orders.made", keyed("k", "2"))
		eventually(t, "the second route", func() bool { return len(rec.payloads("b")) == 1 })
	})
}

func TestMiddlewaresAroundTheForwarder(t *testing.T) {
	t.Parallel()
	match, err := middleware.Match(middleware.MatchConfig{Conditions: `{"payload.keep":true}`})
	require.NoError(t, err)
	for _, test := range []struct {
		name string
		mw   message.HandlerMiddleware
		want map[string]int
		sent int
	}{
		{"match skips", match, map[string]int{"SKIPPED": 1, "SENT": 1}, 1},
		{"ack without the handler skips", func(message.HandlerFunc) message.HandlerFunc {
			return func(*message.Message) ([]*message.Message, error) { return nil, nil }
		}, map[string]int{"SKIPPED": 2}, 0},
		{"an error after the delivery changes nothing", func(h message.HandlerFunc) message.HandlerFunc {
			return func(m *message.Message) ([]*message.Message, error) {
				if _, err := h(m); err != nil {
					return nil, err
				}
				return nil, errDown
			}
		}, map[string]int{"SENT": 2}, 2},
		{"an error before it is a failed attempt", func(message.HandlerFunc) message.HandlerFunc {
			return func(*message.Message) ([]*message.Message, error) { return nil, errDown }
		}, map[string]int{"DEAD": 2}, 0},
		{"a panic is one too", func(message.HandlerFunc) message.HandlerFunc {
			return func(*message.Message) ([]*message.Message, error) { panic("middleware") }
		}, map[string]int{"DEAD": 2}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			testdb.Each(t, func(t *testing.T, db *sql.DB) {
				publish(t, db, "t", keyed("k", `{"keep":true}`), keyed("k", `{"keep":false}`))
				rec := newRecorder()
				ctx, cancel := context.WithTimeout(context.Background(), await.Patience)
				defer cancel()
				f, err := forwarder.New(db, map[string]message.Publisher{"x": rec}, forwarder.Config{Routes: routes(t)}, watermill.NopLogger{})
				require.NoError(t, err)
				r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
				require.NoError(t, err)
				f.AddTo(r).AddMiddleware(test.mw)
				done := make(chan error, 1)
				go func() { done <- r.Run(ctx) }()
				eventually(t, "both are finished", func() bool {
					s := statuses(t, db)
					return s["NEW"] == 0 && s["FAILED"] == 0
				})
				require.NoError(t, r.Close())
				require.NoError(t, <-done)
				require.Equal(t, test.want, statuses(t, db))
				require.Len(t, rec.payloads("t"), test.sent)
			})
		})
	}
}

func TestWhatIsHeldIsDeliveredInOrderWhenTheDestinationIsBack(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		const keys, each = 7, 60
		table := routes(t)
		rec := newRecorder()
		rec.fail = failTopic("a")
		run(t, db, forwarder.Config{Routes: table}, map[string]message.Publisher{"x": rec})
		for i := range each {
			var batch []*message.Message
			for k := range keys {
				batch = append(batch, configured(fmt.Sprint(k), fmt.Sprint(i), `{"targets":[{"destination":"a","retry_policy":"forever"},{"destination":"b"}]}`))
			}
			publishRouted(t, db, table, "t", batch...)
		}
		eventually(t, "everything is held", func() bool {
			var n int
			require.NoError(t, db.QueryRow(`SELECT count(*) FROM outbox_deliveries WHERE state = 'held'`).Scan(&n))
			return n == keys*(each-1)
		})
		require.Len(t, rec.payloads("b"), keys*each, "the other target has them all")
		rec.setFail(func(_ string, m *message.Message) error { // and not all at once
			if m.Metadata.Get(outbox.KeyAggregateID) == "3" && string(m.Payload) == "17" && rec.failures < 3 {
				rec.failures++
				return errDown
			}
			return nil
		})
		eventually(t, "everything is sent", func() bool { return statuses(t, db)["SENT"] == keys*each })
		next := map[string]int{}
		for _, m := range rec.got["a"] {
			key := m.Metadata.Get(outbox.KeyAggregateID)
			require.Equal(t, fmt.Sprint(next[key]), string(m.Payload), "key %s", key)
			next[key]++
		}
		require.Len(t, rec.got["a"], keys*each)
	})
}

// A forwarder that is cut off at each of its settling transactions, for good, as kill -9 would: what it had written down counts for the next.
func TestTargetThatGotTheEventIsNotSentItAgainAfterACrash(t *testing.T) {
	t.Parallel()
	const config = `{"targets":[{"destination":"a"},{"destination":"b","retry_policy":"forever"},{"destination":"c","delay_seconds":1}]}`
	for settled := range 4 {
		t.Run(fmt.Sprintf("after %d settled", settled), func(t *testing.T) {
			t.Parallel()
			dsn := testdb.PostgresDSN(t)
			db := testdb.Migrated(t, testdb.Open(t, dsn))
			table := routes(t)
			hook := new(testdb.Hook)
			hooked := testdb.Hooked(t, dsn, hook)
			var mu sync.Mutex
			commits, dead := 0, make(chan struct{})
			hook.Before(func(_ context.Context, query string) error {
				mu.Lock()
				defer mu.Unlock()
				select {
				case <-dead:
					return errDown
				default:
				}
				if query == "commit" {
					var left int
					if err := db.QueryRow(`SELECT count(*) FROM outbox_slots WHERE owner IS NOT NULL`).Scan(&left); err != nil {
						return err
					}
					if left == 0 {
						return nil // joining, and taking the first slots
					}
					if commits == settled {
						close(dead)
						return errDown
					}
					commits++
				}
				return nil
			})
			rec := newRecorder()
			rec.fail = failTopic("b")
			cfg := forwarder.Config{Routes: table, Subscriber: forwarder.SubscriberConfig{Lease: 900 * time.Millisecond, CloseTimeout: 300 * time.Millisecond}}
			f, err := forwarder.New(hooked, map[string]message.Publisher{"x": rec}, cfg, logger(t))
			require.NoError(t, err)
			ended := make(chan error, 1)
			go func() { ended <- f.Run(context.Background()) }()
			t.Cleanup(func() {
				_ = f.Close()
				<-ended
			})
			publishRouted(t, db, table, "t", configured("k", "1", config))
			<-dead
			written := count(t, db, `SELECT count(*) FROM outbox_deliveries`) > 0
			first := len(rec.payloads("a"))
			rec.setFail(nil)
			run(t, db, cfg, map[string]message.Publisher{"x": rec})
			eventually(t, "everything is sent", func() bool { return statuses(t, db)["SENT"] == 1 })
			require.NotEmpty(t, rec.payloads("b"))
			require.NotEmpty(t, rec.payloads("c"))
			if written {
				require.Len(t, rec.payloads("a"), first, "what was written down is not done again")
			}
			require.LessOrEqual(t, len(rec.payloads("a")), 2)
		})
	}
}

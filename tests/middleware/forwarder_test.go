package middleware_test

import (
	"database/sql"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/router"
)

// scribbler is a publisher that writes into what it is given, as some decorators do.
type scribbler struct{ message.Publisher }

func (s scribbler) Publish(topic string, msgs ...*message.Message) error {
	for _, msg := range msgs {
		msg.Metadata.Set("own", "written by "+topic)
		clear(msg.Payload[:1])
	}
	return s.Publisher.Publish(topic, msgs...)
}

const twoTargets = `{"targets":[{"destination":"whole"},{"destination":"part","transform":{"include_fields":["n"]}},{"destination":"scribbled://x","transform":{"include_fields":["seen"]}}]}`

func startForwarder(t *testing.T, db *sql.DB, target *gochannel.GoChannel, mws ...message.HandlerMiddleware) (*message.Router, <-chan error) {
	t.Helper()
	table, err := router.NewTable(router.Config{Routes: router.Routes{Routes: []router.Route{{Topic: "in", Config: twoTargets}}}})
	require.NoError(t, err)
	f, err := forwarder.New(db, map[string]message.Publisher{"default": target, "scribbled": scribbler{target}},
		forwarder.Config{Routes: table}, nil)
	require.NoError(t, err)
	r, err := message.NewRouter(message.RouterConfig{CloseTimeout: 20 * time.Second}, watermill.NopLogger{})
	require.NoError(t, err)
	f.AddTo(r).AddMiddleware(mws...)
	return r, run(t, r)
}

// TestAroundTheForwarder puts the whole chain around the handler of a forwarder, and lets that fan out.
func TestAroundTheForwarder(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		taken, left := customers(t)
		for _, reversed := range []bool{false, true} {
			t.Run(fmt.Sprintf("reversed %v", reversed), func(t *testing.T) {
				ps := gochannel.NewGoChannel(gochannel.Config{Persistent: true}, watermill.NopLogger{})
				defer func() { require.NoError(t, ps.Close()) }()
				mws := chain(t, ps)[:5] // the customer stays, for Sample
				mws = append(mws, chainTransform(t))
				if reversed {
					slices.Reverse(mws)
				}
				outbox := openOutbox(t, db)
				for id, payload := range map[string]string{
					"passes":      fmt.Sprintf(`{"n":1,"customer":%q}`, taken),
					"filtered":    fmt.Sprintf(`{"n":10,"customer":%q}`, taken),
					"sampled out": fmt.Sprintf(`{"n":2,"customer":%q}`, left),
					"no JSON":     "n = 3",
				} {
					msg := message.NewMessage(id, []byte(payload))
					msg.Metadata.Set("own", "original")
					require.NoError(t, outbox.pub.Publish("in", msg))
				}
				r, stopped := startForwarder(t, db, ps, mws...)
				for topic, want := range map[string]string{
					"whole": fmt.Sprintf(`{"n":1,"customer":%q,"seen":true}`, taken), "part": `{"n":1}`, "x": "\x00" + `"seen":true}`,
				} {
					messages, err := ps.Subscribe(t.Context(), topic)
					require.NoError(t, err)
					msg := receive(t, messages, 1)["passes"]
					require.NotNil(t, msg, topic)
					require.Equal(t, want, string(msg.Payload))
					own := "original"
					if topic == "x" {
						own = "written by x"
					}
					require.Equal(t, own, msg.Metadata.Get("own"))
				}
				if !reversed {
					messages, err := ps.Subscribe(t.Context(), "poison")
					require.NoError(t, err)
					require.Contains(t, receive(t, messages, 1), "no JSON")
				}
				waitFor(t, func() bool { return len(unfinished(t, db)) == 1 })
				require.NoError(t, r.Close())
				require.NoError(t, <-stopped)
				require.Equal(t, map[string]string{"no JSON": "DEAD 1"}, unfinished(t, db))
				require.Equal(t, []string{"filtered", "sampled out"}, skipped(t, db))
				_, err := db.ExecContext(t.Context(), `DELETE FROM outbox_deliveries`)
				require.NoError(t, err)
			})
		}
	})
}

// TestCancellationAroundTheForwarderIsNoFailure closes the Router while a middleware around the forwarder waits.
func TestCancellationAroundTheForwarderIsNoFailure(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		taken, _ := customers(t)
		ps := gochannel.NewGoChannel(gochannel.Config{Persistent: true}, watermill.NopLogger{})
		defer func() { require.NoError(t, ps.Close()) }()
		require.NoError(t, openOutbox(t, db).pub.Publish("in", message.NewMessage("1", fmt.Appendf(nil, `{"n":1,"customer":%q}`, taken))))
		waits := make(chan struct{}, 10)
		r, stopped := startForwarder(t, db, ps, append(chain(t, ps), func(message.HandlerFunc) message.HandlerFunc {
			return func(msg *message.Message) ([]*message.Message, error) {
				waits <- struct{}{}
				<-msg.Context().Done()
				return nil, msg.Context().Err()
			}
		})...)
		<-waits
		require.NoError(t, r.Close())
		require.NoError(t, <-stopped)
		require.Contains(t, unfinished(t, db), "1")
		require.Equal(t, map[string]string{"1": "NEW 0"}, unfinished(t, db))
		poison, err := ps.Subscribe(t.Context(), "poison")
		require.NoError(t, err)

		r, stopped = startForwarder(t, db, ps)
		messages, err := ps.Subscribe(t.Context(), "whole")
		require.NoError(t, err)
		receive(t, messages, 1)
		waitFor(t, func() bool { return len(unfinished(t, db)) == 0 })
		require.NoError(t, r.Close())
		require.NoError(t, <-stopped)
		require.Empty(t, poison)
	})
}

func skipped(t *testing.T, db *sql.DB) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT DISTINCT id FROM outbox_events WHERE status = 'SKIPPED' ORDER BY id`)
	require.NoError(t, err)
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		require.NoError(t, rows.Scan(&id))
		ids = append(ids, id)
	}
	require.NoError(t, rows.Err())
	return ids
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	await.That(t, done)
}

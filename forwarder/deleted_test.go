package forwarder_test

import (
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/router"
)

// A retention job deletes the event that holds its key, while a forwarder runs that has the key blocked in memory.
func TestTheKeyGoesOnWhenItsFirstEventIsDeleted(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, target, first string }{
		{"waiting", `"retry_policy":"long"`, "FAILED"},
		{"dead and holding its key", `"retry_policy":"none","on_dead":"hold_key"`, "DEAD"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			testdb.Each(t, func(t *testing.T, db *sql.DB) {
				table, err := router.NewTable(router.Config{Policies: map[string]middleware.RetryPolicy{
					"long": {MaxAttempts: 9, InitialInterval: time.Hour, MaxInterval: time.Hour, Multiplier: 1}}})
				require.NoError(t, err)
				config := `{"targets":[{"destination":"a",` + test.target + `}]}`
				rec := newRecorder()
				rec.fail = func(_ string, msg *message.Message) error {
					if string(msg.Payload) == "1" {
						return errors.New("refused")
					}
					return nil
				}
				run(t, db, forwarder.Config{Routes: table, Subscriber: forwarder.SubscriberConfig{SweepInterval: time.Hour}}, map[string]message.Publisher{"x": rec})
				publishRouted(t, db, table, "t", configured("k", "1", config), configured("k", "2", config), configured("k", "3", config))
				eventually(t, "two are held", func() bool {
					return statuses(t, db)[test.first] == 1 && count(t, db, `SELECT count(*) FROM outbox_deliveries WHERE state = 'held'`) == 2
				})
				_, err = db.ExecContext(t.Context(), `DELETE FROM outbox WHERE seq = 1`)
				require.NoError(t, err)
				eventually(t, "the others are sent", func() bool { return statuses(t, db)["SENT"] == 2 })
				publishRouted(t, db, table, "t", configured("k", "4", config))
				eventually(t, "the key is free", func() bool { return statuses(t, db)["SENT"] == 3 })
				require.Equal(t, []string{"2", "3", "4"}, rec.payloads("a"))
				require.Zero(t, count(t, db, `SELECT count(*) FROM outbox_deliveries`))
			})
		})
	}
}

// An event is deleted while it is being published: its outcome is nobody's, and the key goes on.
func TestTheKeyGoesOnWhenAnEventIsDeletedInFlight(t *testing.T) {
	t.Parallel()
	for name, outcome := range map[string]error{"delivered": nil, "failed": errors.New("refused"), "dead": middleware.Permanent(errors.New("refused"))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testdb.Each(t, func(t *testing.T, db *sql.DB) {
				table := routes(t)
				const config = `{"targets":[{"destination":"a","on_dead":"hold_key"}]}`
				reached, resume := make(chan struct{}), make(chan struct{})
				rec := newRecorder()
				rec.fail = func(_ string, msg *message.Message) error {
					if string(msg.Payload) != "1" {
						return nil
					}
					close(reached)
					<-resume
					return outcome
				}
				publishRouted(t, db, table, "t", configured("k", "1", config), configured("k", "2", config))
				run(t, db, forwarder.Config{Routes: table, Subscriber: forwarder.SubscriberConfig{SweepInterval: time.Hour}}, map[string]message.Publisher{"x": rec})
				<-reached
				_, err := db.ExecContext(t.Context(), `DELETE FROM outbox WHERE seq = 1`)
				require.NoError(t, err)
				close(resume)
				eventually(t, "the second is sent", func() bool { return statuses(t, db)["SENT"] == 1 })
				publishRouted(t, db, table, "t", configured("k", "3", config))
				eventually(t, "the key is free", func() bool { return statuses(t, db)["SENT"] == 2 })
				require.Zero(t, count(t, db, `SELECT count(*) FROM outbox_deliveries`))
			})
		})
	}
}

// TRUNCATE beside a forwarder that has events of the table in memory: nothing of the new ones is lost, shown as another's, or sent twice.
func TestTruncateBesideAForwarder(t *testing.T) {
	t.Parallel()
	db := testdb.Postgres(t)
	table := routes(t)
	const config = `{"targets":[{"destination":"a","on_dead":"hold_key"}]}`
	rec := newRecorder()
	rec.fail = failTopic("a")
	run(t, db, forwarder.Config{Routes: table, Subscriber: forwarder.SubscriberConfig{SweepInterval: time.Hour}}, map[string]message.Publisher{"x": rec})
	publishRouted(t, db, table, "t", configured("k", "1", config), configured("k", "2", config), configured("l", "3", config))
	eventually(t, "all are written down", func() bool { return count(t, db, `SELECT count(*) FROM outbox_deliveries`) == 3 })
	_, err := db.ExecContext(t.Context(), `TRUNCATE outbox RESTART IDENTITY`)
	require.NoError(t, err)
	rec.setFail(nil)
	publishRouted(t, db, table, "t", configured("k", "4", config), configured("k", "5", config), configured("l", "6", config))
	eventually(t, "the new ones are sent", func() bool { return statuses(t, db)["SENT"] == 3 })
	require.ElementsMatch(t, []string{"4", "5", "6"}, rec.payloads("a"))
	require.Equal(t, map[string]int{"SENT": 3}, statuses(t, db))
}

package outbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5"
	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

func stored(t testing.TB, db *sql.DB) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRow("SELECT count(*) FROM outbox").Scan(&n))
	return n
}

func TestPublisherTakesTenThousandMessagesInOneCall(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		var msgs []*message.Message
		for i := range 10_000 {
			msgs = append(msgs, keyed("a", fmt.Sprint(i)))
		}
		publish(t, db, "orders", msgs...)
		rows, err := db.Query("SELECT payload FROM outbox ORDER BY seq")
		require.NoError(t, err)
		defer rows.Close()
		i := 0
		for ; rows.Next(); i++ {
			var b []byte
			require.NoError(t, rows.Scan(&b))
			require.Equal(t, fmt.Sprint(i), string(b))
		}
		require.NoError(t, rows.Err())
		require.Equal(t, 10_000, i)
	})
}

func TestPublisherRefusesWhatCannotBeStored(t *testing.T) {
	t.Parallel()
	with := func(k, v string) *message.Message {
		return &message.Message{UUID: "bad", Metadata: message.Metadata{k: v}}
	}
	long := strings.Repeat("x", outbox.MaxText+1)
	huge := strings.Repeat("x", outbox.MaxMetadata+1)
	for name, c := range map[string]struct {
		topic string
		msg   *message.Message
		says  string
	}{
		"nil message":             {"orders", nil, "nil"},
		"empty topic":             {"", message.NewMessage("bad", nil), "topic is empty"},
		"topic with NUL":          {"a\x00b", message.NewMessage("bad", nil), "NUL"},
		"topic not UTF-8":         {"a\xffb", message.NewMessage("bad", nil), "UTF-8"},
		"long topic":              {long, message.NewMessage("bad", nil), "more than 1024"},
		"UUID with NUL":           {"orders", message.NewMessage("\x00", nil), "NUL"},
		"UUID not UTF-8":          {"orders", message.NewMessage("\xc3\x28", nil), "UTF-8"},
		"long UUID":               {"orders", message.NewMessage(long, nil), "more than 1024"},
		"payload too large":       {"orders", message.NewMessage("bad", make([]byte, 101)), "MaxPayload 100"},
		"metadata value with NUL": {"orders", with("k", "\x00"), "NUL"},
		"metadata value no UTF-8": {"orders", with("k", "\xff"), "UTF-8"},
		"metadata key with NUL":   {"orders", with("\x00", "v"), "NUL"},
		"metadata key no UTF-8":   {"orders", with("\xff", "v"), "UTF-8"},
		"metadata too large":      {"orders", with("k", huge), "more than"},
		"metadata large in all": {"orders", &message.Message{UUID: "bad", Metadata: message.Metadata{
			"a": huge[:outbox.MaxMetadata/2], "b": huge[:outbox.MaxMetadata/2], "c": "x"}}, "more than"},
		"reserved key":       {"orders", with("outbox_topic", "x"), "StripHeaders"},
		"reserved and free":  {"orders", with("outbox_anything", "x"), "StripHeaders"},
		"long tenant":        {"orders", with(outbox.KeyTenantID, long), "more than 1024"},
		"no time":            {"orders", with(outbox.KeyOccurredAt, "yesterday"), "RFC 3339"},
		"routing config":     {"orders", with(outbox.KeyRoutingConfig, "{no json"), ""},
		"long routing key":   {"orders", with(outbox.KeyRoutingKey, long), "more than 1024"},
		"long aggregate id":  {"orders", with(outbox.KeyAggregateID, long), "more than 1024"},
		"aggregate with NUL": {"orders", with(outbox.KeyAggregateType, "\x00"), "NUL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testdb.Each(t, func(t *testing.T, db *sql.DB) {
				tx := begin(t, db)
				cfg := publisherConfig(db)
				cfg.MaxPayload = 100
				p, err := outbox.NewPublisher(tx, cfg, nil)
				require.NoError(t, err)
				err = p.Publish(c.topic, message.NewMessage("good", []byte("x")), c.msg)
				var refused *outbox.MessageError
				require.ErrorAs(t, err, &refused)
				require.ErrorIs(t, err, outbox.ErrInvalidMessage)
				if c.topic != "" && strings.ToValidUTF8(c.topic, "") == c.topic && !strings.Contains(c.topic, "\x00") && len(c.topic) < 1024 {
					require.Equal(t, 1, refused.Index)
				}
				require.Contains(t, err.Error(), c.says)
				require.Less(t, len(err.Error()), 1000)
				require.NoError(t, tx.Commit())
				require.Zero(t, stored(t, db), "nothing of the call is stored")
			})
		})
	}
}

func TestPublisherWorksInEveryKindOfTransaction(t *testing.T) {
	t.Parallel()
	msg := func() *message.Message { return keyed("a", "x") }
	t.Run("sql.DB", func(t *testing.T) {
		t.Parallel()
		testdb.Each(t, func(t *testing.T, db *sql.DB) {
			p, err := outbox.NewPublisher(db, publisherConfig(db), nil)
			require.NoError(t, err)
			require.NoError(t, p.Publish("orders", msg()))
			require.Equal(t, 1, stored(t, db))
			require.NoError(t, p.Close())
			require.ErrorIs(t, p.Publish("orders", msg()), outbox.ErrClosed)
		})
	})
	t.Run("sqlx.Tx", func(t *testing.T) {
		t.Parallel()
		testdb.Each(t, func(t *testing.T, db *sql.DB) {
			for _, commit := range []bool{false, true} {
				tx, err := sqlx.NewDb(db, "any").Beginx()
				require.NoError(t, err)
				p, err := outbox.NewPublisher(tx, publisherConfig(db), nil)
				require.NoError(t, err)
				require.NoError(t, p.Publish("orders", msg()))
				if commit {
					require.NoError(t, tx.Commit())
				} else {
					require.NoError(t, tx.Rollback())
				}
			}
			require.Equal(t, 1, stored(t, db))
		})
	})
	for _, mode := range []string{"", "simple_protocol", "exec", "describe_exec", "cache_describe"} {
		t.Run("pgx.Tx "+mode, func(t *testing.T) {
			t.Parallel()
			dsn := testdb.PostgresDSN(t)
			db := testdb.Migrated(t, testdb.Open(t, dsn))
			if mode != "" {
				dsn += "&default_query_exec_mode=" + mode
			}
			ctx := context.Background()
			conn, err := pgx.Connect(ctx, dsn)
			require.NoError(t, err)
			defer func() { _ = conn.Close(ctx) }()
			for _, commit := range []bool{false, true} {
				tx, err := conn.Begin(ctx)
				require.NoError(t, err)
				p, err := outbox.NewPublisher(outbox.Pgx(tx), outbox.Config{}, nil)
				require.NoError(t, err)
				m := message.NewMessage("1", []byte("\x00\xff'\\"))
				m.Metadata.Set("k", `v"\`)
				require.NoError(t, p.Publish("orders", m))
				if commit {
					require.NoError(t, tx.Commit(ctx))
				} else {
					require.NoError(t, tx.Rollback(ctx))
				}
			}
			var payload []byte
			var metadata string
			require.NoError(t, db.QueryRow("SELECT payload_bytes, event_metadata FROM outbox").Scan(&payload, &metadata))
			require.Equal(t, "\x00\xff'\\", string(payload))
			require.JSONEq(t, `{"k":"v\"\\"}`, metadata)
		})
	}
}

func TestPublisherHonoursTheCallersContext(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		p, err := outbox.NewPublisher(db, publisherConfig(db), nil)
		require.NoError(t, err)
		m := keyed("a", "x")
		require.ErrorIs(t, p.PublishContext(ctx, "orders", m), context.Canceled)
		require.Zero(t, stored(t, db))
		m.SetContext(ctx)
		require.ErrorIs(t, p.Publish("orders", m), context.Canceled)
		require.Zero(t, stored(t, db))
		require.NoError(t, p.PublishContext(context.Background(), "orders", m))
		require.Equal(t, 1, stored(t, db))
	})
}

// More messages than fit in one statement are stored together even where the caller has no transaction.
func TestPublisherStoresAllOrNothingWithoutATransaction(t *testing.T) {
	t.Parallel()
	dsn := testdb.PostgresDSN(t)
	hook := new(testdb.Hook)
	db := testdb.Hooked(t, dsn, hook)
	testdb.Migrated(t, testdb.Open(t, dsn))
	inserts := 0
	hook.Before(func(_ context.Context, query string) error {
		if strings.HasPrefix(query, "INSERT") {
			if inserts++; inserts == 3 {
				return errors.New("the network is down")
			}
		}
		return nil
	})
	var msgs []*message.Message
	for range 1300 {
		msgs = append(msgs, keyed("a", "x"))
	}
	p, err := outbox.NewPublisher(db, outbox.Config{}, nil)
	require.NoError(t, err)
	require.ErrorContains(t, p.Publish("orders", msgs...), "the network is down")
	require.Equal(t, 3, inserts)
	require.Zero(t, stored(t, db))
	require.NoError(t, p.Publish("orders", msgs...))
	require.Equal(t, len(msgs), stored(t, db))
}

func TestPublisherLeavesMessagesAsTheyWere(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		m := keyed("a", "x")
		m.Metadata.Set("own", "value")
		before := m.Copy()
		publish(t, db, "orders", m)
		require.True(t, before.Equals(m))
	})
}

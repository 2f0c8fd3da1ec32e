package store_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// payloads returns what pending events carry, by topic.
func payloads(t *testing.T, s *store.Store, inline int) map[string][]byte {
	t.Helper()
	events, err := s.Read(t.Context(), nil, everySlot(s), inline, store.Filter{}, nil)
	require.NoError(t, err)
	all := map[string][]byte{}
	for _, e := range events {
		if e.PayloadSize > inline {
			require.Nil(t, e.Payload)
			e.Payload, err = s.Payload(t.Context(), e.Seq)
			require.NoError(t, err)
		}
		require.Len(t, e.Payload, e.PayloadSize)
		all[e.Topic] = e.Payload
	}
	return all
}

// What SQL literals store is what is read: as they are written in psql.
func TestTextIsStoredAsItIsWritten(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		s := open(t, db)
		want := map[string]string{}
		for i, payload := range []string{
			`{"path":"C:\\dir"}`, `{"quote":"\""}`, `{"line":"a\nb"}`, `{"e":"\u00e9"}`, `{"nul":"\u0000"}`, `\`, `\\x00`, `\xno hex`, `\x7`, `é 🙂`, ``, ` `, `null`,
			`O'Reilly; --`, "a\nb\t\r\n", `{"a" : 1, "a": 2.50}`,
		} {
			topic := fmt.Sprint("t", i)
			want[topic] = payload
			_, err := db.ExecContext(t.Context(), fmt.Sprintf(`INSERT INTO outbox (topic, payload) VALUES ('%s', '%s')`, topic, strings.ReplaceAll(payload, "'", "''")))
			require.NoError(t, err, payload)
		}
		for _, inline := range []int{0, 1 << 16} {
			read := payloads(t, s, inline)
			require.Len(t, read, len(want))
			for topic, payload := range want {
				require.Equal(t, payload, string(read[topic]))
				require.NotNil(t, read[topic])
			}
		}
	})
}

// What is no text to PostgreSQL becomes text by its own rules.
func TestValuesOfOtherTypesAreStoredAsTheirText(t *testing.T) {
	t.Parallel()
	db := testdb.Postgres(t)
	s := open(t, db)
	want := map[string]string{}
	for i, v := range [][2]string{
		{`jsonb_build_object('b', 'C:\dir', 'a', 1)`, `{"a": 1, "b": "C:\\dir"}`}, {`'{"b" : 1}'::json`, `{"b" : 1}`}, {`'{"b" : 1}'::jsonb`, `{"b": 1}`},
		{`json_build_object('a', E'\n')`, `{"a" : "\n"}`}, {`row_to_json(r)`, `{"id":1,"name":"a\\b"}`}, {`to_jsonb(r)`, `{"id": 1, "name": "a\\b"}`},
		{`'a\b'::varchar`, `a\b`}, {`'ab '::varchar(5)`, `ab `}, {`42`, `42`}, {`format('%s', r.name)`, `a\b`},
	} {
		topic := fmt.Sprint("t", i)
		want[topic] = v[1]
		_, err := db.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload) SELECT '`+topic+`', `+v[0]+` FROM (SELECT 1 AS id, 'a\b' AS name) r`)
		require.NoError(t, err, v[0])
	}
	read := payloads(t, s, 1<<16)
	for topic, payload := range want {
		require.Equal(t, payload, string(read[topic]))
	}
}

// An event without a payload is one whose writer said so.
func TestNilAndEmptyPayloadsStayApart(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		s := open(t, db)
		publisher, err := outbox.NewPublisher(db, outbox.Config{}, nil)
		require.NoError(t, err)
		require.NoError(t, publisher.Publish("nil", message.NewMessage("1", nil)))
		require.NoError(t, publisher.Publish("empty", message.NewMessage("1", []byte{})))
		_, err = db.ExecContext(t.Context(), `INSERT INTO outbox (topic, tombstone, payload, payload_bytes) VALUES ('nil by SQL', true, NULL, NULL), ('empty bytes', false, NULL, $1)`, []byte{})
		require.NoError(t, err)
		require.Equal(t, map[string][]byte{"nil": nil, "empty": {}, "nil by SQL": nil, "empty bytes": {}}, payloads(t, s, 1<<16))
		require.Equal(t, map[string][]byte{"nil": nil, "empty": {}, "nil by SQL": nil, "empty bytes": {}}, payloads(t, s, 0))
	})
}

// What the publisher stores comes back, as text that SQL can read where it is text.
func TestPublisherStoresEveryPayload(t *testing.T) {
	t.Parallel()
	st := func(t *testing.T, db *sql.DB) {
		s := open(t, db)
		publisher, err := outbox.NewPublisher(db, outbox.Config{}, nil)
		require.NoError(t, err)
		want := map[string][]byte{}
		for i, c := range []struct {
			payload string
			text    bool
		}{
			{`{"path":"C:\\dir"}`, true}, {"é 🙂", true}, {"", true}, {"\x00", false}, {"a\x00b", false}, {"\xff", false}, {`\x00`, false}, {`\x`, false}, {`\`, true},
			{strings.Repeat(`{"a":"\\"}`, 1<<17), true}, {strings.Repeat("\x00\xff\\'\"", 1<<18), false}, {strings.Repeat("x", 16<<20), true},
		} {
			topic := fmt.Sprint("t", i)
			want[topic] = []byte(c.payload)
			require.NoError(t, publisher.Publish(topic, message.NewMessage("1", []byte(c.payload))))
			var text bool
			require.NoError(t, db.QueryRowContext(t.Context(), `SELECT payload IS NOT NULL AND payload_bytes IS NULL FROM outbox WHERE topic = $1`, topic).Scan(&text))
			require.Equal(t, c.text, text, topic)
		}
		read := payloads(t, s, 1<<16)
		for topic, payload := range want {
			require.True(t, string(payload) == string(read[topic]), topic) // not Equal, which prints a megabyte
		}
	}
	testdb.Each(t, st)
	for _, mode := range []string{"simple_protocol", "exec"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			st(t, testdb.Migrated(t, testdb.Open(t, testdb.PostgresDSN(t)+"&default_query_exec_mode="+mode)))
		})
	}
}

// What plain SQL must not store is refused where it enters, by an error that says what is wrong.
func TestInsertRefuses(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 512) + "e" // of 1025 bytes
	random := randomText(6400)
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		type refusal struct{ columns, values, postgres, sqlite string }
		list := []refusal{
			{`topic`, `'t'`, "payload and payload_bytes are NULL", "set one of payload and payload_bytes"},
			{`topic, payload`, `'t', NULL`, "payload and payload_bytes are NULL", "set one of payload and payload_bytes"},
			{`topic, payload, tombstone`, `'t', 'x', true`, "tombstone is true, and there is a payload", "set one of payload and payload_bytes"},
			{`topic, payload`, `'', 'x'`, "topic is empty", "topic is empty"},
			{`topic, payload, event_metadata`, `'t', 'x', '{"a":"b","outbox_tenant_id":"c"}'`, "event_metadata has the key outbox_tenant_id", "event_metadata has a key with the prefix outbox_"},
			{`topic, payload, event_metadata`, `'t', 'x', '{"` + strings.Repeat("k", 1000) + `":"` + strings.Repeat("v", 262144) + `"}'`, "event_metadata has 263144 bytes, more than 262144", "event_metadata has more than 262144 bytes"},
			{`topic, payload, routing_config`, `'t', 'x', '{"a":"` + strings.Repeat("v", 262144) + `"}'`, "routing_config has 262152 bytes, more than 262144", "routing_config has more than 262144 bytes"},
		}
		for _, column := range []string{"topic", "tenant_id", "aggregate_type", "aggregate_id", "ordering_key", "id", "schema_id", "schema_version", "routing_key", "routing_version"} {
			for _, text := range []string{long, random} {
				columns, values := `payload, `+column, `'x', '`+text+`'`
				if column != "topic" {
					columns, values = columns+`, topic`, values+`, 't'`
				}
				if column == "aggregate_type" {
					columns, values = columns+`, aggregate_id`, values+`, '1'`
				}
				list = append(list, refusal{columns, values, column + " has ", column + " has more than 1024 bytes"})
			}
		}
		d, err := schema.DialectOf(db)
		require.NoError(t, err)
		for _, c := range list {
			_, err := db.ExecContext(t.Context(), `INSERT INTO outbox (`+c.columns+`) VALUES (`+c.values+`)`)
			want := c.postgres
			if d == schema.SQLite {
				want = c.sqlite
			}
			require.ErrorContains(t, err, want, c.columns)
			require.Less(t, len(err.Error()), 300)
		}
		if d == schema.SQLite {
			_, err := db.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload) VALUES ('t', x'00')`)
			require.ErrorContains(t, err, "payload takes text; give blobs to payload_bytes")
			_, err = db.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload_bytes) VALUES ('t', 'text')`)
			require.ErrorContains(t, err, "payload_bytes takes a blob; give text to payload")
		} else {
			for _, bytes := range []string{`'\x7b7d'::bytea`, `''::bytea`, `convert_to('{"a":"é"}', 'UTF8')`, `'\x00'`} {
				_, err := db.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload) VALUES ('t', `+bytes+`)`)
				require.ErrorContains(t, err, "payload was given bytes")
			}
			_, err = db.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload, payload_bytes) VALUES ('t', 'x', 'x')`)
			require.ErrorContains(t, err, "payload and payload_bytes are both set")
		}
		var n int
		require.NoError(t, db.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM outbox_pending)`).Scan(&n))
		require.Zero(t, n)

		// At the limits, and what only looks like it was too much.
		most := strings.Repeat("é", 512)
		_, err = db.ExecContext(t.Context(), `INSERT INTO outbox (topic, tenant_id, aggregate_type, aggregate_id, ordering_key, id, schema_id, schema_version, routing_key, routing_version,
			event_metadata, routing_config, payload) VALUES ($1, $1, $1, $1, $1, $1, $1, $1, $1, $1, $2, $3, 'x')`,
			most, `{"table":"outbox_events","k":"`+strings.Repeat(`\"`, 262144-19)+`"}`, `{"a":"`+strings.Repeat("v", 262144-8)+`"}`)
		require.NoError(t, err)
	})
}

// Nor does a name that an operator gives reach an index that cannot take it.
func TestNamesOfOperatorsAreBounded(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, db *sql.DB) {
		s := open(t, db)
		for _, kind := range []store.ControlKind{store.PausedDestination, store.PausedTenant, store.PausedKey} {
			require.ErrorContains(t, s.Pause(t.Context(), kind, randomText(6400), ""), "it has 6400 bytes")
		}
		require.ErrorContains(t, s.Join(t.Context(), randomText(6400), "me", store.Filter{}, time.Minute), "it has 6400 bytes")
		require.NoError(t, s.Pause(t.Context(), store.PausedKey, randomText(1024)+":"+randomText(1024), ""), "the longest key that there is")
		require.NoError(t, s.Join(t.Context(), randomText(1024), "me", store.Filter{}, time.Minute))
	})
}

func randomText(n int) string {
	b := make([]byte, n)
	r := uint32(1)
	for i := range b {
		r = r*1664525 + 1013904223
		b[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[r>>26]
	}
	return string(b)
}

func TestOnlyDatabasesOfUTF8AreMigrated(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"LATIN1", "SQL_ASCII"} {
		db := testdb.Open(t, testdb.PostgresDatabase(t, `template0 ENCODING '`+encoding+`' LC_COLLATE 'C' LC_CTYPE 'C'`))
		m, err := schema.NewMigrator(db, schema.Config{})
		require.NoError(t, err)
		_, err = m.Up(t.Context())
		require.ErrorContains(t, err, " is "+encoding+", and the outbox needs UTF8")
	}
}

// Package clients stores events by plain SQL through the PostgreSQL clients of several languages, as their users do, and looks at what is delivered.
package clients_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/lib/pq" // driver "postgres"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// row is one event: how its payload is given to the client, and the payload.
type row struct{ topic, kind, payload string }

const example = `{"id":"7","total":9,"note":"C:\\dir \"é\""}`

// rows are the corpus, each payload in every way that fits it.
var rows = sync.OnceValue(func() (list []row) {
	add := func(kind, payload string) { list = append(list, row{fmt.Sprintf("t%d", len(list)), kind, payload}) }
	for _, payload := range []string{
		`{"path":"C:\\dir"}`, `{"quote":"\"it's\""}`, `{"line":"a\nb\tc"}`, `{"letter":"\u00e9é"}`, `{"nul":"\u0000"}`, `{"emoji":"🙂","pair":"\ud83d\ude42"}`,
		`{"number":12345678901234567890.10, "list" : [1,"{}",null]}`, `{"big":"` + strings.Repeat(`\\é🙂'`, 1<<17) + `"}`,
		``, ` `, `\`, `\\`, `\x0`, `\n`, `'`, `''; --`, `"`, `$1 %s ? :name`, `null`, `{"broken":`, "a\r\nb\tc\x01\x7f", "é 🙂 \u2028 \ufeff",
	} {
		add("text", payload)
		add("bytes", payload)
		if json.Valid([]byte(payload)) && payload[0] == '{' {
			add("json", payload)
			if !strings.Contains(payload, `\u0000`) {
				add("jsonb", payload)
			}
		}
	}
	add("bytes", "\x00")
	add("bytes", "\xff\xfe\x00\\x'\"")
	add("bytes", strings.Repeat("\x00\x01\\\xff", 1<<18))
	add("misplaced", `{"path":"C:\\dir"}`)
	return list
})

// refusals are the errors of INSERTs that the database did not take, by topic.
type refusals map[string]string

// check stores the corpus with insert and compares what a forwarder delivers. Typed tells that the client says that bytes are bytes.
func check(t *testing.T, typed bool, insert func(t *testing.T, url string) refusals) {
	t.Helper()
	t.Parallel()
	dsn := testdb.PostgresDSN(t)
	db := testdb.Migrated(t, testdb.Open(t, dsn))
	_, err := db.ExecContext(t.Context(), `CREATE TABLE orders (id text PRIMARY KEY, total integer NOT NULL)`)
	require.NoError(t, err)
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	q := u.Query()
	q.Set("options", "-c search_path="+q.Get("search_path"))
	q.Del("search_path")
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")

	refused := insert(t, u.String())

	got := &sink{payloads: map[string][]byte{}}
	f, err := forwarder.New(db, map[string]message.Publisher{"sink": got}, forwarder.Config{}, nil)
	require.NoError(t, err)
	require.NoError(t, f.Drain(t.Context()))
	for _, r := range rows() {
		payload, delivered := got.payloads[r.topic]
		if r.kind == "misplaced" && typed {
			require.Contains(t, refused[r.topic], "payload was given bytes")
			require.Contains(t, refused[r.topic], "Give bytes to payload_bytes.")
			continue
		}
		name := fmt.Sprintf("%s of %.40q", r.kind, r.payload)
		require.True(t, delivered, name)
		if strings.HasPrefix(r.kind, "json") {
			require.True(t, sameJSON(t, r.payload, payload), "%s is %.80q", name, payload)
		} else {
			require.True(t, bytes.Equal([]byte(r.payload), payload), "%s is %.80q", name, payload)
		}
	}
	require.True(t, sameJSON(t, example, got.payloads["orders.placed"]), "%s", got.payloads["orders.placed"])
	var orders int
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM orders`).Scan(&orders))
	require.Equal(t, 1, orders)
}

// sameJSON compares values: clients that are given one write it their own way.
func sameJSON(t *testing.T, want string, got []byte) bool {
	t.Helper()
	var a, b any
	require.NoError(t, json.Unmarshal([]byte(want), &a))
	require.NoError(t, json.Unmarshal(got, &b))
	x, err := json.Marshal(a)
	require.NoError(t, err)
	y, err := json.Marshal(b)
	require.NoError(t, err)
	return bytes.Equal(x, y)
}

// sink keeps what is published.
type sink struct {
	mu       sync.Mutex
	payloads map[string][]byte
}

// Publish implements message.Publisher.
func (s *sink) Publish(topic string, msgs ...*message.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range msgs {
		s.payloads[topic] = m.Payload
	}
	return nil
}

// Close implements message.Publisher.
func (s *sink) Close() error { return nil }

// program runs a program of another language on the corpus.
func program(name string, args ...string) func(t *testing.T, url string) refusals {
	return func(t *testing.T, url string) refusals {
		t.Helper()
		var list strings.Builder
		for _, r := range rows() {
			fmt.Fprintf(&list, "%s\t%s\t%s\n", r.topic, r.kind, base64.StdEncoding.EncodeToString([]byte(r.payload)))
		}
		file := filepath.Join(t.TempDir(), "corpus")
		require.NoError(t, os.WriteFile(file, []byte(list.String()), 0o600))
		cmd := exec.CommandContext(t.Context(), name, append(args, url, file)...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		require.NoError(t, cmd.Run(), "%s", &stderr)
		refused := refusals{}
		for line := range strings.Lines(stdout.String()) {
			topic, why, _ := strings.Cut(line, "\t")
			refused[topic] = why
		}
		return refused
	}
}

// library returns where a language's clients are, or skips the test.
func library(t *testing.T, language string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "../../scripts/client-lib", language, "--offline").Output()
	if err != nil {
		t.Skipf("skipped: no PostgreSQL clients for %s; scripts/client-lib %[1]s gets them, or says why it cannot", language)
	}
	return strings.TrimSpace(string(out))
}

func TestPsycopg(t *testing.T) {
	python := filepath.Join(library(t, "python"), "bin", "python")
	for _, script := range []string{"psycopg_three.py", "psycopg_two.py"} {
		t.Run(script, func(t *testing.T) { check(t, true, program(python, script)) })
	}
}

func TestNodePostgres(t *testing.T) {
	modules := filepath.Join(library(t, "node"), "node_modules")
	check(t, false, program("env", "NODE_PATH="+modules, "node", "insert.js"))
}

func TestJDBC(t *testing.T) {
	jar := filepath.Join(library(t, "java"), "postgresql.jar")
	check(t, true, func(t *testing.T, dsn string) refusals {
		t.Helper()
		u, err := url.Parse(dsn)
		require.NoError(t, err)
		u.RawQuery += "&user=" + u.User.Username()
		if password, ok := u.User.Password(); ok {
			u.RawQuery += "&password=" + url.QueryEscape(password)
		}
		u.User = nil
		return program("java", "-cp", jar, "Insert.java")(t, "jdbc:postgresql"+strings.TrimPrefix(u.String(), "postgres"))
	})
}

func TestPsql(t *testing.T) {
	psql := testdb.Program(t, "psql")
	check(t, true, func(t *testing.T, url string) refusals {
		t.Helper()
		quoted := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
		placed, err := os.ReadFile("insert.sql")
		require.NoError(t, err)
		text := "SET client_encoding = UTF8;\n" + string(placed)
		for _, r := range rows() {
			column, value := "payload", quoted(r.payload)
			switch r.kind {
			case "bytes", "misplaced":
				column, value = "payload_bytes", fmt.Sprintf(`'\x%x'`, r.payload)
			case "json", "jsonb":
				value += "::" + r.kind
			}
			if r.kind == "misplaced" {
				column = "payload"
				text += "\\set ON_ERROR_STOP off\n"
			}
			text += fmt.Sprintf("INSERT INTO outbox (topic, %s) VALUES ('%s', %s);\n", column, r.topic, value)
		}
		cmd := exec.CommandContext(t.Context(), psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", url)
		cmd.Stdin = strings.NewReader(text)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		require.NoError(t, cmd.Run(), "%s", &stderr)
		return refusals{rows()[len(rows())-1].topic: stderr.String()}
	})
}

func TestPgx(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			// Only where pgx asks for the type of the column first does it send bytes as the text that they are.
			check(t, mode != pgx.QueryExecModeCacheStatement, func(t *testing.T, url string) refusals {
				t.Helper()
				cfg, err := pgx.ParseConfig(url)
				require.NoError(t, err)
				cfg.DefaultQueryExecMode = mode
				conn, err := pgx.ConnectConfig(t.Context(), cfg)
				require.NoError(t, err)
				defer func() { _ = conn.Close(context.Background()) }()
				return store(t, func(query string, args ...any) error {
					_, err := conn.Exec(t.Context(), query, args...)
					return err
				})
			})
		})
	}
}

func TestPq(t *testing.T) {
	check(t, false, func(t *testing.T, url string) refusals {
		t.Helper()
		db, err := sql.Open("postgres", url)
		require.NoError(t, err)
		defer func() { _ = db.Close() }()
		return store(t, func(query string, args ...any) error {
			_, err := db.ExecContext(t.Context(), query, args...)
			return err
		})
	})
}

// store stores the corpus from Go.
func store(t *testing.T, exec func(query string, args ...any) error) refusals {
	t.Helper()
	require.NoError(t, exec(`INSERT INTO orders (id, total) VALUES ($1, $2)`, "7", 9))
	require.NoError(t, exec(`INSERT INTO outbox (topic, payload, aggregate_type, aggregate_id) VALUES ('orders.placed', $1, 'order', $2)`, example, "7"))
	refused := refusals{}
	for _, r := range rows() {
		column, value := "payload", any(r.payload)
		switch r.kind {
		case "bytes":
			column, value = "payload_bytes", []byte(r.payload)
		case "misplaced":
			value = []byte(r.payload)
		case "json", "jsonb":
			require.NoError(t, exec(`INSERT INTO outbox (topic, payload) VALUES ($1, $2::`+r.kind+`)`, r.topic, r.payload))
			continue
		}
		err := exec(`INSERT INTO outbox (topic, `+column+`) VALUES ($1, $2)`, r.topic, value)
		if r.kind == "misplaced" && err != nil {
			refused[r.topic] = hint(err)
			continue
		}
		require.NoError(t, err, r.kind)
	}
	return refused
}

// hint returns the text of err with PostgreSQL's advice.
func hint(err error) string {
	var of *pgconn.PgError
	if errors.As(err, &of) {
		return of.Message + " " + of.Hint
	}
	return err.Error()
}

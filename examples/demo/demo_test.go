package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

const smallOrders = 40

// requireReport fails unless text is exactly one JSON object that says that all of n orders went well.
func requireReport(t *testing.T, text []byte, n int) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	var got map[string]any
	require.NoError(t, decoder.Decode(&got), "%s", text)
	require.False(t, decoder.More(), "more than one object: %s", text)
	require.Equal(t, map[string]any{
		"published":   float64(3*n + 1),
		"rolled_back": float64(3 * (n / 10)),
		"delivered": map[string]any{
			"kafka://orders": float64(n), "redis://notifications": float64(n), "audit": float64(n),
		},
		"dead": 1.0, "skipped": 0.0, "lost": 0.0, "duplicated": 0.0, "out_of_order": 0.0,
	}, got)
}

func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"--json", "--orders", "40"}, &stdout, &stderr)
	require.Zero(t, code, "%s", &stderr)
	requireReport(t, stdout.Bytes(), smallOrders)
}

func TestTableNamesEveryDestinationAndTheDeadLetter(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"--orders", "40"}, &stdout, &stderr), "%s", &stderr)
	for _, text := range []string{"kafka://orders", "redis://notifications", "audit", "121 events committed, 12 rolled back, 1 dead",
		`no publisher "fax"`, "OK: nothing was lost"} {
		require.Contains(t, stdout.String(), text)
	}
	require.Contains(t, stderr.String(), "orders 40/40")
}

func TestGoRun(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: builds the demo")
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "go", "run", ".", "--json", "--orders", "40")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	require.NoError(t, err, "%s", &stderr)
	requireReport(t, stdout, smallOrders)
}

func TestPostgresIsUsedAndLeftAsItWas(t *testing.T) {
	t.Parallel()
	url := testdb.PostgresDSN(t)
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"--json", "--orders", "40", "--database-url", url}, &stdout, &stderr), "%s", &stderr)
	requireReport(t, stdout.Bytes(), smallOrders)

	db, err := sql.Open("pgx", url)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	var left int
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace`).Scan(&left))
	require.Zero(t, left)
}

func TestSQLiteFileIsUsedAndLeftAsItWas(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "own.db")
	db, err := sql.Open("sqlite", testdb.SQLiteDSN(file))
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	_, err = db.ExecContext(t.Context(), `CREATE TABLE orders (id INTEGER)`)
	require.NoError(t, err)

	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"--json", "--orders", "40", "--database-url", "sqlite:" + file}, &stdout, &stderr), "%s", &stderr)
	requireReport(t, stdout.Bytes(), smallOrders)
	var left int
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'`).Scan(&left))
	require.Equal(t, 1, left)
}

func TestRedisIsUsedAndLeftAsItWas(t *testing.T) {
	t.Parallel()
	server := os.Getenv("OUTBOX_TEST_REDIS_URL")
	if server == "" {
		t.Skip("skipped: OUTBOX_TEST_REDIS_URL names no server; make test starts one")
	}
	u, err := url.Parse(server)
	require.NoError(t, err)
	u.Path = "/14" // nobody else's, to see what is left
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"--json", "--orders", "40", "--redis-url", u.String()}, &stdout, &stderr), "%s", &stderr)
	requireReport(t, stdout.Bytes(), smallOrders)

	options, err := redis.ParseURL(u.String())
	require.NoError(t, err)
	client := redis.NewClient(options)
	defer func() { require.NoError(t, client.Close()) }()
	left, err := client.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.Empty(t, left)
}

// saboteur is a publisher that asks act first, which may do something else with a message.
type saboteur struct {
	message.Publisher
	act func(pub message.Publisher, topic string, msg *message.Message) (acted bool, err error)

	mu sync.Mutex
}

func (s *saboteur) Publish(topic string, msgs ...*message.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, msg := range msgs {
		acted, err := s.act(s.Publisher, topic, msg)
		if !acted && err == nil {
			err = s.Publisher.Publish(topic, msg)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func TestSabotageIsNoticed(t *testing.T) {
	t.Parallel()
	type act = func(pub message.Publisher, topic string, msg *message.Message) (bool, error)
	cases := map[string]struct {
		act  func() act
		want report
	}{
		"message lost": {
			act: func() act {
				lost := false
				return func(message.Publisher, string, *message.Message) (bool, error) {
					first := !lost
					lost = true
					return first, nil
				}
			},
			want: report{Lost: 1},
		},
		"message sent twice": {
			act: func() act {
				sent := false
				return func(pub message.Publisher, topic string, msg *message.Message) (bool, error) {
					if sent {
						return false, nil
					}
					err := pub.Publish(topic, msg)
					sent = err == nil
					return false, err // and once more
				}
			},
			want: report{Duplicated: 1},
		},
		"message overtaken": {
			act: func() act {
				var late *message.Message
				done := false
				return func(pub message.Publisher, topic string, msg *message.Message) (bool, error) {
					switch {
					case done:
						return false, nil
					case late == nil:
						late = message.NewMessage(msg.UUID, msg.Payload)
						return true, nil
					case customer(msg) != customer(late):
						return false, nil
					}
					if err := pub.Publish(topic, msg); err != nil {
						return false, err
					}
					done = true
					return true, pub.Publish(topic, late)
				}
			},
			want: report{OutOfOrder: 1},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := options{orders: smallOrders, sabotage: func(pub message.Publisher) message.Publisher {
				return &saboteur{Publisher: pub, act: c.act()}
			}}
			r, err := demo(t.Context(), opts, io.Discard)
			require.NoError(t, err)
			require.Equal(t, []int{c.want.Lost, c.want.Duplicated, c.want.OutOfOrder}, []int{r.Lost, r.Duplicated, r.OutOfOrder})
			require.Equal(t, 1, exitStatus(r))
		})
	}
}

func customer(msg *message.Message) string {
	var o order
	if err := json.Unmarshal(msg.Payload, &o); err != nil {
		return err.Error()
	}
	return o.Customer
}

func TestWrongUse(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		args []string
		code int
		want string
	}{
		"unknown flag":      {[]string{"--order", "3"}, 2, "flag provided but not defined"},
		"argument":          {[]string{"300"}, 2, "want flags only"},
		"no orders":         {[]string{"--orders", "0"}, 2, "at least one order"},
		"database scheme":   {[]string{"--database-url", "oracle://x"}, 1, "must start with postgres:// or sqlite:"},
		"redis that is off": {[]string{"--redis-url", "redis://127.0.0.1:1"}, 1, "redis: dial tcp 127.0.0.1:1: connect: connection refused"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			require.Equal(t, c.code, run(t.Context(), c.args, &stdout, &stderr))
			require.Contains(t, stderr.String(), c.want)
			require.Empty(t, stdout.String())
		})
	}
}

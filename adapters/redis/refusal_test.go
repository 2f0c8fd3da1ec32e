package redis_test

import (
	"context"
	"database/sql"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/alicebob/miniredis/v2"
	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/adapters"
	"github.com/bento-outbox/watermill-outbox/adapters/adapterstest"
	"github.com/bento-outbox/watermill-outbox/adapters/redis"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/internal/testserver"
)

func opener(url string) func(*testing.T) message.Publisher {
	return func(t *testing.T) message.Publisher {
		t.Helper()
		pub, err := adapters.Open(t.Context(), url, nil)
		require.NoError(t, err)
		return pub
	}
}

func refuses(t *testing.T, s *server, list ...adapterstest.Refusal) {
	t.Helper()
	adapterstest.Refusals(t, adapterstest.Harness{
		Open:     opener(s.url()),
		Received: func(t *testing.T, topic string) []adapterstest.Record { return read(t, s.admin, topic) },
		Database: func(t *testing.T) *sql.DB { return testdb.SQLite(t) },
		Refusals: list,
	})
}

// Each is made on a real server.
func TestServerThatRefusesEverything(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	cut := command("client", "kill", "type", "normal", "skipme", "yes")
	user := func(rules ...any) []any { return append(command("acl", "setuser", "app"), rules...) }
	refuses(t, s,
		adapterstest.Refusal{
			Name: "READONLY", Says: "READONLY", Begin: s.do(command("replicaof", "127.0.0.1", "1")), End: s.do(command("replicaof", "no", "one")),
		},
		adapterstest.Refusal{
			Name: "MASTERDOWN", Says: "MASTERDOWN",
			Begin: s.do(config("replica-read-only", "no"), config("replica-serve-stale-data", "no"), command("replicaof", "127.0.0.1", "1")),
			End:   s.do(command("replicaof", "no", "one"), config("replica-serve-stale-data", "yes"), config("replica-read-only", "yes")),
		},
		adapterstest.Refusal{
			Name: "OOM", Says: "OOM", Begin: s.do(config("maxmemory-policy", "noeviction"), config("maxmemory", "1")), End: s.do(config("maxmemory", "0")),
		},
		adapterstest.Refusal{
			Name: "NOREPLICAS", Says: "NOREPLICAS", Begin: s.do(config("min-replicas-to-write", "1")), End: s.do(config("min-replicas-to-write", "0")),
		},
		adapterstest.Refusal{
			Name: "NOAUTH", Says: "NOAUTH", Open: opener("redis://" + s.Addr + "?timeout=2s"),
			Begin: s.do(config("requirepass", "secret"), cut), End: s.do(command("acl", "setuser", "default", "nopass"), cut),
		},
		adapterstest.Refusal{
			Name: "WRONGPASS", Says: "WRONGPASS", Begin: s.do(user("resetpass", ">changed"), cut), End: s.do(user("resetpass", ">secret")),
		},
		adapterstest.Refusal{Name: "account is off", Says: "WRONGPASS", Begin: s.do(user("off"), cut), End: s.do(user("on"))},
		adapterstest.Refusal{Name: "command is not allowed", Says: "NOPERM", Begin: s.do(user("-xadd")), End: s.do(user("+xadd"))},
		adapterstest.Refusal{
			Name: "stream is not allowed", Says: "NOPERM", TopicOnly: true,
			Begin: func(t *testing.T, topic string) { s.do(user("resetkeys", "~"+topicsBut(topic)))(t, topic) }, End: s.do(user("resetkeys", "~*")),
		},
		// The server hangs up with its answer, which may be lost by that.
		adapterstest.Refusal{Name: "too many clients", Begin: s.do(config("maxclients", "1"), cut), End: s.do(config("maxclients", "1000"))},
		adapterstest.Refusal{
			Name: "MISCONF", Says: "MISCONF",
			Begin: func(t *testing.T, topic string) { // a directory is in the way of the file
				require.NoError(t, os.MkdirAll(filepath.Join(s.Dir, "dump.rdb", "x"), 0o700))
				s.do(config("save", "3600 1"))(t, topic)
				s.save(t, "err")
			},
			End: func(t *testing.T, topic string) {
				require.NoError(t, os.RemoveAll(filepath.Join(s.Dir, "dump.rdb")))
				s.save(t, "ok")
				s.do(config("save", ""))(t, topic)
			},
		},
		adapterstest.Refusal{
			Name: "BUSY", Says: "BUSY",
			Begin: func(t *testing.T, topic string) {
				s.do(config("busy-reply-threshold", "1"))(t, topic)
				script := goredis.NewClient(&goredis.Options{Addr: s.Addr, MaxRetries: -1, ReadTimeout: time.Minute})
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					_ = script.Eval(context.Background(), "while true do end", nil).Err()
				}()
				t.Cleanup(func() { <-ended; _ = script.Close() })
			},
			End: s.do(command("script", "kill")),
		},
		adapterstest.Refusal{
			Name: "LOADING", Says: "LOADING",
			Begin: func(t *testing.T, topic string) {
				s.do(command("eval", "for i = 1, 50000 do redis.call('set', 'filler:' .. i, 'x') end return 1", 0))(t, topic)
				require.NoError(t, s.admin.Save(t.Context()).Err())
				s.restart(t, append(s.Args[:len(s.Args):len(s.Args)], "--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"))
			},
			End: func(t *testing.T, _ string) {
				s.restart(t, s.Args[:len(s.Args)-4])
				await.That(t, func() bool { return !s.loading(t) })
			},
		},
	)
}

// topicsBut is a pattern of keys that leaves topic out, with all that end as it does.
func topicsBut(topic string) string { return "*[^" + topic[len(topic)-1:] + "]" }

// save saves until the server's last result is status.
func (s *server) save(t *testing.T, status string) {
	t.Helper()
	await.That(t, func() bool {
		_ = s.admin.BgSave(t.Context()).Err() // one may be under way
		info, err := s.admin.Info(t.Context(), "persistence").Result()
		return err == nil && strings.Contains(info, "rdb_bgsave_in_progress:0") && strings.Contains(info, "rdb_last_bgsave_status:"+status)
	})
}

func TestClusterThatIsDown(t *testing.T) {
	t.Parallel()
	// The port of the cluster's bus is another free one: by default it is 10,000 above, which anybody may have.
	bus, err := testserver.FreeAddr()
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(bus)
	require.NoError(t, err)
	s := newServer(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", port)
	all := command("cluster", "addslotsrange", 0, 16383)
	s.do(all)(t, "")
	await.That(t, func() bool {
		info, err := s.admin.ClusterInfo(t.Context()).Result()
		return err == nil && strings.Contains(info, "cluster_state:ok")
	})
	refuses(t, s, adapterstest.Refusal{
		Name: "CLUSTERDOWN", Says: "CLUSTERDOWN",
		Begin: s.do(command("cluster", "delslotsrange", 0, 16383)), End: s.do(all),
	})
}

// What real servers answer, word for word, and whose fault it is.
func TestBlame(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]adapters.Verdict{
		"READONLY You can't write against a read only replica.":                                            adapters.BlamePublisher,
		"OOM command not allowed when used memory > 'maxmemory'.":                                          adapters.BlamePublisher,
		"NOAUTH Authentication required.":                                                                  adapters.BlamePublisher,
		"WRONGPASS invalid username-password pair or user is disabled.":                                    adapters.BlamePublisher,
		"NOPERM this user has no permissions to run the 'xadd' command":                                    adapters.BlamePublisher,
		"NOPERM User app has no permissions to run the 'xadd' command":                                     adapters.BlamePublisher,
		"NOPERM this user has no permissions to access one of the keys used as arguments":                  adapters.BlameTopic,
		"NOPERM No permissions to access a key":                                                            adapters.BlameTopic,
		"LOADING Redis is loading the dataset in memory":                                                   adapters.BlamePublisher,
		"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist on disk.": adapters.BlamePublisher,
		"CLUSTERDOWN The cluster is down":                                                                  adapters.BlamePublisher,
		"CLUSTERDOWN Hash slot not served":                                                                 adapters.BlamePublisher,
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.":                 adapters.BlamePublisher,
		"NOREPLICAS Not enough good replicas to write.":                                                    adapters.BlamePublisher,
		"TRYAGAIN Multiple keys request during rehashing of slot":                                          adapters.BlamePublisher,
		"REDIRECT 10.0.0.1:6379":                                                                           adapters.BlamePublisher,
		"ERR operation not permitted":                                                                      adapters.BlamePublisher,
		"upstream failure":                                                                                 adapters.BlamePublisher,
		"ERR max daily request limit exceeded. Limit: 10000, Usage: 10000":                                 adapters.BlamePublisher,
		"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.":           adapters.BlamePublisher,
		"ERR max number of clients reached":                                                                adapters.BlamePublisher,
		"ERR max number of clients + cluster connections reached":                                          adapters.BlamePublisher,
		"DENIED Redis is running in protected mode because protected mode is enabled":                      adapters.BlamePublisher,
		"ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?": adapters.BlamePublisher,
		"ERR invalid password":                                                        adapters.BlamePublisher,
		"ERR DB index is out of range":                                                adapters.BlamePublisher,
		"ERR unknown command 'XADD', with args beginning with: 't' '*' ":              adapters.BlamePublisher,
		"MOVED 3999 127.0.0.1:6381":                                                   adapters.BlameTopic,
		"ERR Protocol error: invalid bulk length":                                     adapters.BlameMessage,
		"WRONGTYPE Operation against a key holding the wrong kind of value":           adapters.BlameUnknown,
		"ERR The stream has exhausted the last possible ID, unable to add more items": adapters.BlameUnknown,
		"ERR something new":                                                           adapters.BlameUnknown,
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			fake := miniredis.RunT(t)
			client := goredis.NewClient(&goredis.Options{Addr: fake.Addr()})
			t.Cleanup(func() { _ = client.Close() })
			client.AddHook(refuse(answer(text)))
			pub, err := redis.NewPublisher(client, redis.Config{}, nil)
			require.NoError(t, err)
			err = pub.Publish("t", message.NewMessage("1", nil))
			require.ErrorContains(t, err, text)
			assert.Equal(t, want, adapters.Blame(err))
		})
	}
}

func TestClientThatWasClosedIsUnavailable(t *testing.T) {
	t.Parallel()
	fake := miniredis.RunT(t)
	client := goredis.NewClient(&goredis.Options{Addr: fake.Addr()})
	pub, err := redis.NewPublisher(client, redis.Config{}, nil)
	require.NoError(t, err)
	require.NoError(t, client.Close())
	assert.Equal(t, adapters.BlamePublisher, adapters.Blame(pub.Publish("t", message.NewMessage("1", nil))))
}

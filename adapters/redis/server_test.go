package redis_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/testserver"
)

// server is a Redis of the test's own, which it may put into any state.
type server struct {
	*testserver.Server
	admin *goredis.Client // one connection, that nothing kills
}

// newServer starts a server with an account app, password secret, that may do everything.
func newServer(t *testing.T, args ...string) *server {
	t.Helper()
	s := &server{Server: testserver.New(t, func(dir string) (*testserver.Server, error) {
		acl := filepath.Join(dir, "users.acl")
		require.NoError(t, os.WriteFile(acl, []byte("user default on nopass ~* &* +@all\nuser app on >secret ~* &* +@all\n"), 0o600))
		return testserver.Redis(dir, append([]string{"--aclfile", acl}, args...)...)
	})}
	s.admin = goredis.NewClient(&goredis.Options{Addr: s.Addr, PoolSize: 1, MaxRetries: -1, ReadTimeout: time.Minute})
	t.Cleanup(func() { _ = s.admin.Close() })
	return s
}

// url is the server's for the account app.
func (s *server) url() string { return "redis://app:secret@" + s.Addr + "?timeout=2s" }

func (s *server) restart(t *testing.T, args []string) {
	t.Helper()
	s.Stop(syscall.SIGKILL)
	s.Args = args
	require.NoError(t, s.Start(t.Context()))
}

func (s *server) loading(t *testing.T) bool {
	err := s.admin.Ping(t.Context()).Err()
	return err != nil && goredis.HasErrorPrefix(err, "LOADING")
}

// do returns a function that runs commands as an administrator, and cuts all other connections.
func (s *server) do(commands ...[]any) func(*testing.T, string) {
	return func(t *testing.T, _ string) {
		t.Helper()
		for _, c := range commands {
			require.NoError(t, s.admin.Do(t.Context(), c...).Err(), "%v", c)
		}
	}
}

func command(args ...any) []any { return args }

func config(name, value string) []any { return command("config", "set", name, value) }

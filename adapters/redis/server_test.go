package redis_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/await"
)

// server is a Redis of the test's own, which it may put into any state.
type server struct {
	addr, dir string
	process   *exec.Cmd
	admin     *goredis.Client // one connection, that nothing kills
}

// newServer starts a server with an account app, password secret, that may do everything.
func newServer(t *testing.T, args ...string) *server {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped: starts a Redis of its own")
	}
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("skipped: redis-server is not installed")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &server{addr: ln.Addr().String(), dir: t.TempDir()}
	require.NoError(t, ln.Close())
	t.Cleanup(s.stop)
	s.start(t, args...)
	return s
}

// url is the server's for the account app.
func (s *server) url() string { return "redis://app:secret@" + s.addr + "?timeout=2s" }

func (s *server) start(t *testing.T, args ...string) {
	t.Helper()
	_, port, err := net.SplitHostPort(s.addr)
	require.NoError(t, err)
	file := filepath.Join(s.dir, "redis.conf")
	require.NoError(t, os.WriteFile(file, []byte("user default on nopass ~* &* +@all\nuser app on >secret ~* &* +@all\n"), 0o600))
	s.process = exec.Command("redis-server", append([]string{
		file, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.dir,
	}, args...)...)
	s.process.Stdout = t.Output()
	require.NoError(t, s.process.Start())
	s.admin = goredis.NewClient(&goredis.Options{Addr: s.addr, PoolSize: 1, MaxRetries: -1, ReadTimeout: time.Minute})
	await.That(t, func() bool { return s.admin.Ping(t.Context()).Err() == nil || s.loading(t) }, "redis-server answers")
}

func (s *server) loading(t *testing.T) bool {
	err := s.admin.Ping(t.Context()).Err()
	return err != nil && goredis.HasErrorPrefix(err, "LOADING")
}

func (s *server) stop() {
	if s.process != nil {
		_ = s.admin.Close()
		_ = s.process.Process.Kill()
		_ = s.process.Wait()
		s.process = nil
	}
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

package testdb

import (
	"context"
	"database/sql"
	"syscall"
	"testing"

	"github.com/bento-outbox/watermill-outbox/internal/testserver"
)

// Server is a PostgreSQL server of the test's own, which it may stop and replace.
type Server struct {
	t      testing.TB
	server *testserver.Server
}

// NewServer starts a PostgreSQL server on a free port, or skips the test where the programs are not installed. It is stopped and removed
// when the test ends.
func NewServer(t testing.TB) *Server {
	t.Helper()
	return &Server{t, testserver.New(t, func(dir string) (*testserver.Server, error) { return testserver.Postgres(dir) })}
}

// Start starts the server and waits until it answers.
func (s *Server) Start() {
	s.t.Helper()
	if err := s.server.Start(context.Background()); err != nil {
		s.t.Fatal(err)
	}
}

// Stop stops the server: "fast" in order, "immediate" as in a crash.
func (s *Server) Stop(mode string) {
	s.t.Helper()
	s.server.Stop(map[string]syscall.Signal{"fast": syscall.SIGINT, "immediate": syscall.SIGQUIT}[mode])
}

// Backup copies the data of the server, which must not run.
func (s *Server) Backup() {
	s.t.Helper()
	s.command("cp", "-a", s.server.Data(), s.server.Data()+".backup")
}

// Restore replaces the data of the server, which must not run, by those of the backup.
func (s *Server) Restore() {
	s.t.Helper()
	s.command("rm", "-rf", s.server.Data())
	s.command("mv", s.server.Data()+".backup", s.server.Data())
}

// DSN returns the server's URL.
func (s *Server) DSN() string { return s.server.URL }

// Open returns a connection to the server, closed when the test ends.
func (s *Server) Open() *sql.DB { return Open(s.t, s.DSN()) }

// Address returns where the server listens.
func (s *Server) Address() string { return s.server.Addr }

func (s *Server) command(program string, args ...string) {
	s.t.Helper()
	if out, err := s.server.AsOwner(program, args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
}

// Program returns the path of a PostgreSQL program, or skips the test.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := testserver.PostgresProgram(name)
	if err != nil {
		t.Skipf("skipped: %v", err)
	}
	return path
}

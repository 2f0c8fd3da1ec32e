package testdb

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sort"
	"strconv"
	"testing"
)

// Server is a PostgreSQL server of the test's own, which it may stop and replace.
type Server struct {
	t         testing.TB
	dir, data string
	port      int
	running   bool
}

// NewServer starts a PostgreSQL server on a free port, or skips the test where the programs are not installed. It is stopped and removed
// when the test ends.
func NewServer(t testing.TB) *Server {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped: starts a PostgreSQL server of its own")
	}
	Program(t, "initdb")
	dir, err := os.MkdirTemp("", "outbox-test-postgres-") // t.TempDir lies below a directory that only its owner may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if os.Geteuid() == 0 { // the server refuses to run as root
		u, err := user.Lookup("postgres")
		if err != nil {
			t.Skip("skipped: no user postgres to run a PostgreSQL server as")
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, dir: dir, data: filepath.Join(dir, "data"), port: l.Addr().(*net.TCPAddr).Port}
	_ = l.Close()
	s.run("initdb", "-D", s.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
	s.Start()
	t.Cleanup(func() { s.Stop("immediate") })
	return s
}

// Start starts the server and waits until it answers.
func (s *Server) Start() {
	s.t.Helper()
	s.run("pg_ctl", "-D", s.data, "-w", "-l", filepath.Join(s.dir, "log"), "-o",
		fmt.Sprintf("-p %d -c listen_addresses=127.0.0.1 -c unix_socket_directories=''", s.port), "start")
	s.running = true
}

// Stop stops the server: "fast" in order, "immediate" as in a crash.
func (s *Server) Stop(mode string) {
	s.t.Helper()
	if s.running {
		s.run("pg_ctl", "-D", s.data, "-w", "-m", mode, "stop")
		s.running = false
	}
}

// Backup copies the data of the server, which must not run.
func (s *Server) Backup() {
	s.t.Helper()
	s.command("cp", "-a", s.data, s.data+".backup")
}

// Restore replaces the data of the server, which must not run, by those of the backup.
func (s *Server) Restore() {
	s.t.Helper()
	s.command("rm", "-rf", s.data)
	s.command("mv", s.data+".backup", s.data)
}

// DSN returns the server's URL.
func (s *Server) DSN() string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", s.port)
}

// Open returns a connection to the server, closed when the test ends.
func (s *Server) Open() *sql.DB { return Open(s.t, s.DSN()) }

func (s *Server) run(program string, args ...string) {
	s.t.Helper()
	s.command(Program(s.t, program), args...)
}

func (s *Server) command(program string, args ...string) {
	s.t.Helper()
	if os.Geteuid() == 0 {
		program, args = "runuser", append([]string{"-u", "postgres", "--", program}, args...)
	}
	cmd := exec.CommandContext(context.Background(), program, args...)
	cmd.Dir = "/"
	log, err := os.CreateTemp("", "outbox-test-") // a pipe would stay open as long as the server
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = log.Close(); _ = os.Remove(log.Name()) }()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(log.Name())
		s.t.Fatalf("%s %v: %v\n%s", program, args, err, text)
	}
}

// ServerPrograms is the environment variable that names a directory with PostgreSQL's programs of the version to test; those that it lacks are taken from
// the newest version installed.
const ServerPrograms = "OUTBOX_TEST_POSTGRES_BIN"

// Program returns the path of a PostgreSQL program, or skips the test.
func Program(t testing.TB, name string) string {
	t.Helper()
	if dir := os.Getenv(ServerPrograms); dir != "" {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	if list, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name); len(list) > 0 {
		sort.Strings(list)
		return list[len(list)-1]
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("skipped: PostgreSQL's %s is not installed", name)
	}
	return path
}

package testserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// PostgresPrograms is the environment variable that names a directory with PostgreSQL's programs of the version to run; those that it lacks are taken
// from the newest version installed.
const PostgresPrograms = "OUTBOX_TEST_POSTGRES_BIN"

// Postgres returns a PostgreSQL server with its data in dir, an existing, empty directory. Settings have the form name=value.
func Postgres(dir string, settings ...string) (*Server, error) {
	initdb, err := PostgresProgram("initdb")
	if err != nil {
		return nil, err
	}
	postgres, err := PostgresProgram("postgres")
	if err != nil {
		return nil, err
	}
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	s := &Server{Name: "postgres", Addr: addr, Dir: dir, quit: syscall.SIGINT} // it does not wait for clients
	s.URL = "postgres://postgres@" + addr + "/postgres?sslmode=disable"
	if err := ownedByPostgres(dir); err != nil {
		return nil, err
	}
	if out, err := s.AsOwner(initdb, "-D", s.Data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	s.Args = []string{"-D", s.Data(), "-p", port(addr)}
	for _, setting := range append([]string{"listen_addresses=127.0.0.1", "unix_socket_directories="}, settings...) {
		s.Args = append(s.Args, "-c", setting)
	}
	s.command = func() *exec.Cmd { return s.AsOwner(postgres, s.Args...) }
	s.ready = func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, s.URL)
		var refusal *pgconn.PgError
		switch {
		case err == nil:
			return conn.Close(ctx)
		case errors.As(err, &refusal) && refusal.Code != "57P03": // it starts
			return nil
		}
		return err
	}
	return s, nil
}

// Data is the directory of the server's data.
func (s *Server) Data() string { return filepath.Join(s.Dir, "data") }

// AsOwner returns a command that runs as the user whom the server's files belong to.
func (s *Server) AsOwner(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...) //nolint:noctx // ended by a signal
	cmd.Dir = "/"
	if uid, gid, err := postgresUser(); err == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}} //nolint:gosec // of the system
	}
	return cmd
}

// ownedByPostgres gives dir to the user postgres when we are root, as whom the server refuses to run.
func ownedByPostgres(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid, err := postgresUser()
	if err != nil {
		return fmt.Errorf("no user postgres to run PostgreSQL as: %w", ErrMissing)
	}
	return os.Chown(dir, uid, gid)
}

func postgresUser() (uid, gid int, err error) {
	if os.Geteuid() != 0 {
		return 0, 0, os.ErrPermission
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return 0, 0, err
	}
	uid, _ = strconv.Atoi(u.Uid)
	gid, _ = strconv.Atoi(u.Gid)
	return uid, gid, nil
}

// PostgresProgram returns the path of a program of PostgreSQL.
func PostgresProgram(name string) (string, error) {
	if dir := os.Getenv(PostgresPrograms); dir != "" {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	if list, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name); len(list) > 0 {
		return slices.MaxFunc(list, func(a, b string) int { return len(a)*100 + strings.Compare(a, b) - len(b)*100 }), nil // 9 is before 10
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("PostgreSQL's %s: %w", name, ErrMissing)
	}
	return path, nil
}

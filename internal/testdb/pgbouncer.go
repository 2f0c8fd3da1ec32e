package testdb

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// PgBouncer starts a PgBouncer in transaction mode before the database that dsn names, and returns the URL to use instead; or it skips the
// test where PgBouncer is not installed. It ends with the test.
func PgBouncer(t testing.TB, dsn string) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if _, err := os.Stat("/usr/sbin/pgbouncer"); err != nil {
			t.Skip("skipped: pgbouncer is not installed")
		}
		program = "/usr/sbin/pgbouncer"
	}
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	dir, err := os.MkdirTemp("", "outbox-test-pgbouncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // read by another user
		t.Fatal(err)
	}
	name := u.Path[1:]
	connection := fmt.Sprintf("%s = host=%s port=%s dbname=%s user=%s", name, u.Hostname(), u.Port(), name, u.User.Username())
	if password, ok := u.User.Password(); ok {
		connection += " password=" + password
	}
	file := filepath.Join(dir, "pgbouncer.ini")
	text := fmt.Sprintf("[databases]\n%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\nauth_type = any\n"+
		"pool_mode = transaction\ndefault_pool_size = 5\nmax_client_conn = 100\n", connection, port)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil { //nolint:gosec // read by another user
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), program, file)
	if os.Geteuid() == 0 { // it refuses to run as root
		cmd = exec.CommandContext(context.Background(), "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", program, file)
	}
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	through := fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", u.User.Username(), port, name)
	db, err := sql.Open("pgx", through)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for end := time.Now().Add(10 * time.Second); ; {
		err := db.PingContext(context.Background())
		if err == nil {
			return through
		}
		if time.Now().After(end) {
			t.Fatalf("pgbouncer does not answer: %v", err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

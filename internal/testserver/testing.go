package testserver

import (
	"errors"
	"os"
	"testing"
)

// New starts a server of the test's own, in a new directory, and stops it when the test ends. The test is skipped with -short, and where the programs
// are not installed.
func New(t testing.TB, make func(dir string) (*Server, error)) *Server {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped: starts a server of its own")
	}
	dir, err := os.MkdirTemp("", "outbox-test-server-") // t.TempDir lies below a directory that only its owner may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s, err := make(dir)
	if errors.Is(err, ErrMissing) {
		t.Skipf("skipped: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(s.quit) })
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

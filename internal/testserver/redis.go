package testserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"syscall"
)

// Redis returns a Redis server with its data in dir. It keeps nothing when it is stopped, unless args, which are those of redis-server, say otherwise.
func Redis(dir string, args ...string) (*Server, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("redis-server: %w", ErrMissing)
	}
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	s := &Server{Name: "redis", Addr: addr, Dir: dir, URL: "redis://" + addr + "/0", Args: args, quit: syscall.SIGTERM}
	s.command = func() *exec.Cmd {
		fixed := []string{"--port", port(addr), "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no"}
		return exec.Command(program, append(fixed, s.Args...)...) //nolint:noctx // ended by a signal
	}
	// Any answer will do, such as that it is loading or wants a password, and that it hangs up, which it does where it wants TLS.
	s.ready = func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		deadline, _ := ctx.Deadline()
		_ = conn.SetDeadline(deadline)
		if _, err = conn.Write([]byte("PING\r\n")); err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			return nil
		}
		return err
	}
	return s, nil
}

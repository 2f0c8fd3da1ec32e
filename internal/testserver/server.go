// Package testserver starts real servers for tests, for the fault audit and for scripts: on free ports of the loopback interface, each in a directory of
// its own, without Docker and without root's init system.
package testserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// ErrMissing is wrapped by the error of a constructor when a program is not installed.
var ErrMissing = errors.New("not installed")

// Server is a server that can be stopped and started again, on the same port and with its data.
type Server struct {
	Name    string
	Version string // of Kafka
	Addr    string // host:port
	Dir     string // of its data, its settings and its log
	URL     string

	// Args are more arguments of the program, from the next Start on.
	Args []string
	// Detached servers outlive the process that started them. Set it before Start.
	Detached bool

	quit    syscall.Signal // ends it in order
	command func() *exec.Cmd
	ready   func(ctx context.Context) error

	process *os.Process
	ended   chan struct{}
}

// Program returns a server of another kind, which command runs and ready asks. SIGTERM ends it in order.
func Program(name, addr, dir string, command func() *exec.Cmd, ready func(ctx context.Context) error) *Server {
	return &Server{Name: name, Addr: addr, Dir: dir, quit: syscall.SIGTERM, command: command, ready: ready}
}

// patience is how long a server may take to start and to stop.
const patience = time.Minute

// Start starts the server and waits until it answers.
func (s *Server) Start(ctx context.Context) error {
	log, err := os.OpenFile(s.LogFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := s.Command()
	cmd.Stdout, cmd.Stderr = log, log
	if !s.Detached {
		endsWithParent(cmd.SysProcAttr)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", s.Name, err)
	}
	ended := make(chan struct{})
	s.process, s.ended = cmd.Process, ended
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for err = s.Ready(ctx); err != nil; err = s.Ready(ctx) {
		select {
		case <-ended:
			return fmt.Errorf("%s ended at once:\n%s", s.Name, s.tail())
		case <-ctx.Done():
			s.Stop(syscall.SIGKILL)
			return fmt.Errorf("%s does not answer: %w\n%s", s.Name, err, s.tail())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// Command returns the command that runs the server in the foreground, in a process group of its own.
func (s *Server) Command() *exec.Cmd {
	cmd := s.command()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	return cmd
}

// Ready returns nil when the server answers.
func (s *Server) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return s.ready(ctx)
}

// Quit is the signal that ends the server in order.
func (s *Server) Quit() syscall.Signal { return s.quit }

// LogFile is where the server's output goes.
func (s *Server) LogFile() string { return filepath.Join(s.Dir, "log") }

// Pid returns the number of the server's process, 0 if it was not started.
func (s *Server) Pid() int {
	if s.process == nil {
		return 0
	}
	return s.process.Pid
}

// Stop sends the signal and waits until the server has ended. It kills a server that takes too long. Stopping one that does not run does nothing.
func (s *Server) Stop(signal syscall.Signal) {
	if s.process == nil {
		return
	}
	_ = s.process.Signal(signal)
	select {
	case <-s.ended:
	case <-time.After(patience):
		_ = s.process.Kill()
		<-s.ended
	}
	s.process = nil
}

// tail returns the last lines of the log.
func (s *Server) tail() []byte {
	text, err := os.ReadFile(s.LogFile())
	if err != nil {
		return []byte(err.Error())
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-20):], []byte("\n"))
}

// FreeAddr returns a free port of the loopback interface, below the ephemeral ones, so that nobody gets it while its server is down.
func FreeAddr() (string, error) {
	for range 100 {
		addr := "127.0.0.1:" + strconv.Itoa(20000+rand.IntN(12000))
		if ln, err := net.Listen("tcp", addr); err == nil { //nolint:noctx // at once
			return addr, ln.Close()
		}
	}
	return "", errors.New("no free port")
}

func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

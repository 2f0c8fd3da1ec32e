package faults

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a process of the audit. It is in a group of its own, so that an interrupt of the audit does not reach it.
type process struct {
	name string
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{} // closed when it has ended
	err  error         // how it ended; valid when done
}

// spawn starts cmd with its output appended to a log file, and has it killed if this process should die.
func spawn(name, logFile string, cmd *exec.Cmd) (*process, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		_ = log.Close()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd, log: log, done: make(chan struct{})}
	guard.watch(cmd.Process.Pid)
	go func() {
		p.err = cmd.Wait()
		guard.forget(cmd.Process.Pid)
		_ = log.Close()
		close(p.done)
	}()
	return p, nil
}

func (p *process) signal(s syscall.Signal) error {
	err := p.cmd.Process.Signal(s)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// stop sends s, waits, and kills the process when it has not ended after patience. It tells whether the process ended by itself.
func (p *process) stop(s syscall.Signal, patience time.Duration) bool {
	_ = p.signal(s)
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-p.done:
		return true
	case <-t.C:
		_ = p.signal(syscall.SIGKILL)
		<-p.done
		return false
	}
}

// childVariable holds the assignment of a process that is this very program again.
const childVariable = "OUTBOX_FAULTS_CHILD"

// again starts this program again, in another role.
func again(name, logFile string, a assignment) (*process, error) {
	cmd, err := selfCommand(a)
	if err != nil {
		return nil, err
	}
	return spawn(name, logFile, cmd)
}

func selfCommand(a assignment) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self) //nolint:noctx // ended by its process
	cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	return cmd, nil
}

// assignment is what a child process is to do.
type assignment struct {
	Role     string // forwarder, workload, kafka or guard
	Database string
	Kafka    string
	Redis    string

	Prefix  string // of topics
	Journal string // what the workload wrote, or what brokers refused

	Lease  time.Duration // of a forwarder
	Broken Broken
	Router bool // whether it runs on a Router with AddTo

	Seed    uint64 // of the workload
	Rate    int    // transactions a second
	Writers int

	Dir               string // of the stand-in for Kafka
	Listen, Advertise string
}

// Child does the work of a child process and exits, if this process is one. Programs and tests that call [Run] call it first.
func Child() {
	text := os.Getenv(childVariable)
	if text == "" {
		return
	}
	var a assignment
	err := json.Unmarshal([]byte(text), &a)
	if err == nil {
		switch a.Role {
		case "forwarder":
			err = forward(a)
		case "workload":
			err = work(a)
		case "kafka":
			err = embedKafka(a)
		case "guard":
			err = keepGuard(os.Stdin)
		default:
			err = fmt.Errorf("unknown role %q", a.Role)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// guard is a process that outlives this one, by as long as it takes to kill what is still running.
var guard guardian

type guardian struct {
	mu    sync.Mutex
	input io.WriteCloser
}

func (g *guardian) watch(pid int)  { g.tell("+", pid) }
func (g *guardian) forget(pid int) { g.tell("-", pid) }

func (g *guardian) tell(sign string, pid int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.input == nil {
		cmd, err := selfCommand(assignment{Role: "guard"})
		if err != nil {
			return
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if g.input, err = cmd.StdinPipe(); err != nil || cmd.Start() != nil {
			g.input = nil
			return
		}
	}
	_, _ = fmt.Fprintf(g.input, "%s%d\n", sign, pid)
}

// keepGuard reads which processes run, until the writer has gone.
func keepGuard(input io.Reader) error {
	running := map[int]bool{}
	lines := bufio.NewScanner(input)
	for lines.Scan() {
		sign, text := lines.Text()[:1], lines.Text()[1:]
		pid, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		if running[pid] = true; sign == "-" {
			delete(running, pid)
		}
	}
	for pid := range running {
		// A number may belong to a stranger by now: ours is the leader of its own group and has lost its parent.
		if group, err := syscall.Getpgid(pid); err == nil && group == pid {
			_ = syscall.Kill(-pid, syscall.SIGKILL)
		}
	}
	return lines.Err()
}

// until asks condition every 20 ms until it is true, or ctx ends.
func until(ctx context.Context, condition func() bool) error {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.C:
		}
	}
	return nil
}

// wait waits for d, or until ctx ends, which it tells.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tail returns the last lines of a file.
func tail(file string, lines int) string {
	b, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return err.Error()
	}
	list := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(list[max(0, len(list)-lines):], "\n")
}

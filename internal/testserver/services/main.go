// Services runs a command with the servers that tests, benchmarks and audits want. Its usage is in scripts/services, which starts it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/testserver"
)

// service is a kind of server.
type service struct {
	name, variable string // the environment variable holds the URL
	install        []string
	optional       bool // the tests can do without it
	make           func(dir string) (*testserver.Server, error)
}

var services = []service{
	{"kafka", "OUTBOX_TEST_KAFKA_URL", []string{"kafka-lib"}, true, func(dir string) (*testserver.Server, error) { return testserver.Kafka(dir, nil) }},
	{"postgres", "OUTBOX_TEST_POSTGRES_URL", []string{"install", "postgresql"}, false, func(dir string) (*testserver.Server, error) {
		// Tests leave transactions prepared. Commits are durable: speed without it misleads.
		return testserver.Postgres(dir, "max_connections=300", "max_prepared_transactions=20")
	}},
	{"redis", "OUTBOX_TEST_REDIS_URL", []string{"install", "redis-server"}, false, func(dir string) (*testserver.Server, error) { return testserver.Redis(dir) }},
}

// kept is a server that `up` started.
type kept struct {
	URL, Dir string
	Pid      int
	Quit     syscall.Signal
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		var ended *exec.ExitError
		if errors.As(err, &ended) && ended.ExitCode() > 0 {
			os.Exit(ended.ExitCode())
		}
		fmt.Fprintln(os.Stderr, "services:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("up, down, status, env or with?")
	}
	action, names := args[0], args[1:]
	var command []string
	if i := slices.Index(names, "--"); i >= 0 {
		names, command = names[:i], names[i+1:]
	}
	chosen, err := choose(names, action == "with")
	if err != nil {
		return err
	}
	if action == "with" {
		return with(chosen, command)
	}
	do, known := map[string]func(service) error{"up": up, "down": down, "status": status, "env": env}[action]
	if !known {
		return fmt.Errorf("%s: up, down, status, env or with?", action)
	}
	var faults []error
	for _, s := range chosen {
		if err := do(s); err != nil && (len(names) > 0 || !s.optional) {
			faults = append(faults, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	return errors.Join(faults...)
}

// choose returns the services with the names; without names all of them, or those that tests need.
func choose(names []string, needed bool) (chosen []service, err error) {
	for _, s := range services {
		if slices.Contains(names, s.name) || len(names) == 0 && (!needed || !s.optional) {
			chosen = append(chosen, s)
		}
	}
	if len(names) > len(chosen) {
		return nil, fmt.Errorf("%v: the services are kafka, postgres and redis", names)
	}
	return chosen, nil
}

// with runs command with the services: the servers that the environment names, those that `up` started, or new ones that end with the command.
func with(chosen []service, command []string) (err error) {
	if len(command) == 0 {
		return errors.New("with [NAME...] -- COMMAND...")
	}
	// The command gets an interrupt too, and ends; then the servers do.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	for _, s := range chosen {
		url := s.running()
		if url == "" {
			server, err := s.start(ctx, false)
			if server != nil {
				defer os.RemoveAll(server.Dir)
				defer server.Stop(server.Quit())
			}
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			url = server.URL
		}
		if err := os.Setenv(s.variable, url); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // of the caller
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}

// running returns the URL of a server that the environment names or that `up` started; empty if there is none.
func (s service) running() string {
	if url := os.Getenv(s.variable); url != "" {
		return url
	}
	k, _ := s.load()
	return k.URL
}

// start starts a server in a new directory, after installing it if need be.
func (s service) start(ctx context.Context, detached bool) (*testserver.Server, error) {
	dir, err := os.MkdirTemp("", "outbox-"+s.name+"-")
	if err != nil {
		return nil, err
	}
	server, err := s.make(dir)
	if errors.Is(err, testserver.ErrMissing) {
		root, err := testserver.Root()
		if err != nil {
			return nil, err
		}
		install := exec.CommandContext(ctx, filepath.Join(root, "scripts", s.install[0]), s.install[1:]...) //nolint:gosec // of this repository
		install.Stderr = os.Stderr
		if err := install.Run(); err != nil {
			return nil, fmt.Errorf("install it: %w", err)
		}
		server, err = s.make(dir)
		if err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	server.Detached = detached
	return server, server.Start(ctx)
}

func (s service) file() (string, error) {
	root, err := testserver.Root()
	return filepath.Join(root, ".run", "services", s.name+".json"), err
}

// load returns the server that `up` started. A file is not believed without a look at the process: its number may belong to a stranger by now.
func (s service) load() (k kept, err error) {
	file, err := s.file()
	if err != nil {
		return kept{}, err
	}
	text, err := os.ReadFile(file) //nolint:gosec // below the repository
	if err == nil {
		err = json.Unmarshal(text, &k)
	}
	if err != nil || !ours(k) {
		return kept{}, errors.New("not running, see: scripts/services up")
	}
	return k, nil
}

// ours reports whether the process is the one that was started. Redis replaces its command line by its address.
func ours(k kept) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", k.Pid))
	if err != nil { // no Linux, or no such process
		line, err = exec.Command("ps", "-ww", "-o", "args=", "-p", strconv.Itoa(k.Pid)).Output() //nolint:noctx,gosec // at once
	}
	addr := strings.Split(strings.TrimPrefix(k.URL, "redis://"), "/")[0]
	return err == nil && (strings.Contains(string(line), k.Dir) || strings.Contains(string(line), addr))
}

func up(s service) error {
	if url := s.running(); url != "" {
		fmt.Fprintf(os.Stderr, "services: %s: runs already, %s\n", s.name, url)
		return nil
	}
	server, err := s.start(context.Background(), true)
	if err != nil {
		return err
	}
	text, err := json.Marshal(kept{server.URL, server.Dir, server.Pid(), server.Quit()})
	if err != nil {
		return err
	}
	file, err := s.file()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // holds no secret
		return err
	}
	fmt.Fprintf(os.Stderr, "services: %s: started, %s\n", s.name, server.URL)
	return os.WriteFile(file, text, 0o600)
}

func down(s service) error {
	k, err := s.load()
	if err != nil {
		return nil //nolint:nilerr // nothing runs
	}
	_ = syscall.Kill(k.Pid, k.Quit)
	for end := time.Now().Add(time.Minute); ours(k); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			_ = syscall.Kill(k.Pid, syscall.SIGKILL)
		}
	}
	fmt.Fprintf(os.Stderr, "services: %s: stopped\n", s.name)
	return os.RemoveAll(k.Dir)
}

func status(s service) error {
	url := s.running()
	if url == "" {
		url = "stopped"
	}
	fmt.Printf("%-10s %s\n", s.name, url)
	return nil
}

func env(s service) error {
	url := s.running()
	if url == "" {
		return errors.New("not running, see: scripts/services up")
	}
	fmt.Printf("export %s='%s'\n", s.variable, strings.ReplaceAll(url, "'", `'\''`))
	return nil
}

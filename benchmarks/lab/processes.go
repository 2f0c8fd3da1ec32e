package lab

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// childVariable holds what a forwarder process of a run is to do, as JSON.
const childVariable = "WATERMILL_OUTBOX_BENCH_CHILD"

type child struct {
	DSN         string   `json:"dsn"`
	Destination string   `json:"destination"`
	Settings    Settings `json:"settings"`
}

// processes is ours in a number of processes with 8 events in flight each.
func processes(n int) system {
	s := oursBy(func(ctx context.Context, r run) error {
		r.MaxConcurrent = 8
		text, err := json.Marshal(child{r.dsn, r.name, r.Settings})
		if err != nil {
			return err
		}
		errs := make([]error, n)
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() { errs[i] = runChild(ctx, string(text), r.to) })
		}
		all.Wait()
		return errors.Join(errs...)
	})
	s.shared = true
	return s
}

// runChild runs a process and passes on to what it delivers, until ctx ends.
func runChild(ctx context.Context, assignment string, to message.Publisher) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Env = append(os.Environ(), childVariable+"="+assignment)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	var msg message.Message
	for lines.Scan() {
		msg.UUID = lines.Text()
		if err := to.Publish("", &msg); err != nil {
			return err
		}
	}
	if err := cmd.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// Child runs a forwarder process of a run and returns true when this process is one. A main function that runs measurements calls it first.
func Child() bool {
	text := os.Getenv(childVariable)
	if text == "" {
		return false
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := forwardForParent(ctx, text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

func forwardForParent(ctx context.Context, text string) error {
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	db, err := sql.Open("pgx", c.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxIdleConns(10)
	to, err := destinations[c.Destination](ctx, c.Settings, "ours")
	if err != nil {
		return err
	}
	report := newReporter(to)
	f, err := run{Settings: c.Settings, db: db, to: report}.forwarder(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f.Run(ctx), report.Close())
}

// reporter writes the UUID of each message that was delivered to standard output, every few milliseconds: the measurement must not cost what
// is measured.
type reporter struct {
	inner message.Publisher // nil for nothing
	mu    sync.Mutex
	lines *bufio.Writer
	stop  func()
}

func newReporter(inner message.Publisher) *reporter {
	const every = 5 * time.Millisecond
	r := &reporter{inner: inner, lines: bufio.NewWriterSize(os.Stdout, 1<<16)}
	ctx, cancel := context.WithCancel(context.Background())
	var flusher sync.WaitGroup
	flusher.Go(func() {
		for ticker := time.NewTicker(every); ; {
			select {
			case <-ticker.C:
				r.mu.Lock()
				_ = r.lines.Flush() // the writer keeps its error, and Publish returns it
				r.mu.Unlock()
			case <-ctx.Done():
				ticker.Stop()
				return
			}
		}
	})
	r.stop = func() { cancel(); flusher.Wait() }
	return r
}

func (r *reporter) Publish(topic string, messages ...*message.Message) error {
	if r.inner != nil {
		if err := r.inner.Publish(topic, messages...); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, msg := range messages {
		if _, err := r.lines.WriteString(msg.UUID + "\n"); err != nil {
			return err
		}
	}
	return nil
}

// Close writes what is left.
func (r *reporter) Close() error {
	r.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines.Flush()
}

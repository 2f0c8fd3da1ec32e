package fault_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/forwarder"
)

// A child is a forwarder in a process of its own: this test binary, started with an assignment in its environment. It delivers into a file that
// all children append to, one line an arrival, so the file tells in which order messages arrived whoever sent them.
type assignment struct {
	Name, DSN, File string
	Lease           time.Duration
	MaxConcurrent   int
	Hold            time.Duration // a publish takes so long,
	FailAfter       time.Duration // and fails when it took longer than this, as after a pause
	FailEvery       int           // and every so many-th fails anyway
}

const assignmentVariable = "OUTBOX_TEST_CHILD"

func TestMain(m *testing.M) {
	if text := os.Getenv(assignmentVariable); text != "" {
		if err := child(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func child(text string) error {
	var a assignment
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return err
	}
	db, err := sql.Open("pgx", a.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	file, err := os.OpenFile(a.File, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	ctx := context.Background()
	f, err := forwarder.New(db, map[string]message.Publisher{"file": &filePublisher{a: a, file: file}}, forwarder.Config{
		Subscriber: forwarder.SubscriberConfig{Lease: a.Lease, MaxConcurrent: a.MaxConcurrent, SweepInterval: time.Hour},
	}, watermill.NewStdLogger(false, false))
	if err != nil {
		return err
	}
	return f.Run(ctx)
}

type filePublisher struct {
	a    assignment
	file *os.File
	n    atomic.Int64
}

func (p *filePublisher) Publish(_ string, msgs ...*message.Message) error {
	for _, m := range msgs {
		if err := p.line("start", m); err != nil {
			return err
		}
		begun := time.Now().Round(0) // by the wall clock, which goes on while the process is stopped
		if p.a.Hold > 0 {
			<-time.After(p.a.Hold)
		}
		if d := time.Since(begun); p.a.FailAfter > 0 && d > p.a.FailAfter {
			return errors.Join(fmt.Errorf("took %s", d), p.line("failure", m))
		}
		if p.a.FailEvery > 0 && p.n.Add(1)%int64(p.a.FailEvery) == 0 {
			return errors.New("a failure now and then")
		}
		if err := p.line("end", m); err != nil {
			return err
		}
	}
	return nil
}

// line is one write, which O_APPEND makes atomic.
func (p *filePublisher) line(what string, m *message.Message) error {
	_, err := fmt.Fprintf(p.file, "%s %s %s %s\n", p.a.Name, what, m.Metadata.Get(outbox.KeyAggregateID), m.Payload)
	return err
}

func (*filePublisher) Close() error { return nil }

type arrival struct{ child, what, key, payload string }

// arrivals reads the file. A killed child may leave no half line: a line is one write.
func arrivals(t testing.TB, file string) []arrival {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	var list []arrival
	for _, line := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") {
		if f := strings.Fields(line); len(f) == 4 {
			list = append(list, arrival{f[0], f[1], f[2], f[3]})
		} else if line != "" {
			t.Fatalf("line %q", line)
		}
	}
	return list
}

func ended(list []arrival) (n int) {
	for _, a := range list {
		if a.what == "end" {
			n++
		}
	}
	return n
}

// run starts a child and ends it with the test.
func run(t testing.TB, a assignment) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(a)
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self) //nolint:noctx // killed by its process
	cmd.Env = append(os.Environ(), assignmentVariable+"="+string(text))
	if testing.Verbose() {
		cmd.Stderr = os.Stderr
	}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { kill(cmd) })
	return cmd
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill() // SIGKILL
	_ = cmd.Wait()
}

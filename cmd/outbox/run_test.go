package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/adapters/adapterstest"
	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

// process is the real binary, running.
type process struct {
	*exec.Cmd
	exited chan error

	stderr buffer

	mu             sync.Mutex
	lines          []string // of stdout
	stdoutComplete chan struct{}
}

func start(t *testing.T, file string, args ...string) *process {
	t.Helper()
	return startIn(t, nil, "", file, args...)
}

// startIn starts it in an environment and a directory; those of the test when they are empty.
func startIn(t *testing.T, env []string, directory, file string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.CommandContext(context.WithoutCancel(t.Context()), file, args...), exited: make(chan error, 1), stdoutComplete: make(chan struct{})}
	p.Env, p.Dir = env, directory
	stdout, err := p.StdoutPipe()
	require.NoError(t, err)
	p.Stderr = &p.stderr
	require.NoError(t, p.Start())
	go func() {
		defer close(p.stdoutComplete)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, lines.Text())
			p.mu.Unlock()
		}
	}()
	go func() {
		<-p.stdoutComplete
		p.exited <- p.Wait()
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.stdoutComplete
	})
	return p
}

// payloads returns what the console destination printed.
func (p *process) payloads() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []string
	for _, line := range p.lines {
		var m struct{ Payload json.RawMessage }
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			list = append(list, "not JSON: "+line)
			continue
		}
		list = append(list, string(m.Payload))
	}
	return list
}

func (p *process) logs() string { return p.stderr.String() }

func (p *process) waitFor(t *testing.T, log string) {
	t.Helper()
	await.That(t, func() bool { return strings.Contains(p.logs(), log) }, "no %q logged; its log:\n%s", log, await.Later(p.logs))
}

// end waits until the process has exited and returns its status.
func (p *process) end(t *testing.T) int {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(await.Patience):
		t.Fatalf("the process does not end; its log:\n%s", p.logs())
	}
	return p.ProcessState.ExitCode()
}

func numbers(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`{"n":%d}`, i)
	}
	return list
}

func TestRunOnceForwardsWhatIsThereInOrder(t *testing.T) {
	t.Parallel()
	file := binary(t)
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		outbox("migrate", "up", "--database-url", url).require(t, statusDone)
		db := open()
		want := numbers(20)
		insert(t, db, "orders", want...)
		insert(t, db, "other", `{"n":99}`)

		p := start(t, file, "run", "--once", "--to", "console://stdout", "--topics", "orders", "--database-url", url)
		require.Zero(t, p.end(t), p.logs())
		require.Equal(t, want, p.payloads())

		p = start(t, file, "run", "--once", "--to", "console://stdout", "--group", "rest", "--topics", "orders,other", "--database-url", url)
		require.Zero(t, p.end(t), p.logs())
		require.Equal(t, []string{`{"n":99}`}, p.payloads())
	})
}

func TestRunReachesDestinationsByName(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	got := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got[r.URL.Path]++
	}))
	t.Cleanup(server.Close)
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		outbox("migrate", "up", "--database-url", url).require(t, statusDone)
		db := open()
		path := strings.ReplaceAll(t.Name(), "/", "-")
		for _, key := range []string{"hook://" + path, path} {
			_, err := db.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload, routing_key) VALUES ('t', $1, $2)`, `{}`, key)
			require.NoError(t, err)
		}
		outbox("run", "--once", "--destination", "hook="+server.URL, "--to", "console://stderr", "--database-url", url).require(t, statusDone)
		var left int
		require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM outbox_events WHERE status <> 'SENT'`).Scan(&left))
		require.Zero(t, left)
		mu.Lock()
		defer mu.Unlock()
		require.Equal(t, 1, got["/"+path])
	})
}

// A broker that is down when the forwarder starts is no failure of the event, which waits.
func TestBrokerThatIsDownAtStart(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		outbox("migrate", "up", "--database-url", url).require(t, statusDone)
		insert(t, open(), "orders", `{}`)
		outbox("run", "--once", "--to", "redis://127.0.0.1:1", "--database-url", url).require(t, statusDone)
		require.Regexp(t, `waiting +orders +1`, outbox("stats", "--database-url", url).require(t, statusDone).stdout)
	})
}

func TestGroupConflict(t *testing.T) {
	t.Parallel()
	file := binary(t)
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		outbox("migrate", "up", "--database-url", url).require(t, statusDone)
		p := start(t, file, "run", "--to", "console://", "--database-url", url)
		db := open()
		await.That(t, func() bool {
			var members int
			require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM outbox_forwarders`).Scan(&members))
			return members > 0
		}, "it joins its group")
		r := outbox("run", "--once", "--to", "console://stderr", "--log-level", "error", "--topics", "orders", "--database-url", url)
		require.Contains(t, r.require(t, statusFailed).stderr, "give them one filter or two names")
		require.NoError(t, p.Process.Signal(syscall.SIGINT))
		require.Zero(t, p.end(t), p.logs())
	})
}

// What a signal interrupts is neither lost nor sent again.
func TestSignalDrains(t *testing.T) {
	t.Parallel()
	file := binary(t)
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, url string, open func() *sql.DB) {
				outbox("migrate", "up", "--database-url", url).require(t, statusDone)
				want := numbers(300)
				insert(t, open(), "orders", want...)
				p := start(t, file, "run", "--to", "console://stdout", "--max-concurrent", "5", "--batch-size", "5", "--database-url", url)
				await.That(t, func() bool { return len(p.payloads()) > 0 })
				require.NoError(t, p.Process.Signal(signal))
				require.Zero(t, p.end(t), p.logs())
				require.Contains(t, p.logs(), "Stopped; outcomes of in-flight deliveries are stored")

				rest := start(t, file, "run", "--once", "--to", "console://stdout", "--database-url", url)
				require.Zero(t, rest.end(t), rest.logs())
				require.Equal(t, want, append(p.payloads(), rest.payloads()...))
			})
		})
	}
}

// stuck starts a forwarder that waits for the answer of its destination, and returns when that was asked and the forwarder was told to stop.
func stuck(t *testing.T, file, url string, open func() *sql.DB, signals ...syscall.Signal) (p *process, answer func()) {
	t.Helper()
	asked, answers := make(chan struct{}, 10), make(chan struct{})
	answer = sync.OnceFunc(func() { close(answers) })
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-answers
	}))
	t.Cleanup(server.Close)
	t.Cleanup(answer)
	outbox("migrate", "up", "--database-url", url).require(t, statusDone)
	insert(t, open(), "orders", `{}`)
	p = start(t, file, "run", "--to", server.URL, "--lease", "10m", "--publish-timeout", "4m", "--close-timeout", "4m", "--database-url", url)
	<-asked
	for _, signal := range signals {
		require.NoError(t, p.Process.Signal(signal))
	}
	p.waitFor(t, "Stopping after in-flight deliveries finish")
	return p, answer
}

// Ctrl-C again, after a moment, exits without waiting for what is in flight, says so, and hands the slots over.
func TestInterruptAgainExitsNow(t *testing.T) {
	t.Parallel()
	file := binary(t)
	for _, first := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(first.String(), func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, url string, open func() *sql.DB) {
				p, _ := stuck(t, file, url, open, first)
				await.That(t, func() bool { // those within the first second are taken for one
					_ = p.Process.Signal(syscall.SIGINT)
					return strings.Contains(p.logs(), "Interrupted again, exiting now")
				}, "its log:\n%s", await.Later(p.logs))
				require.Equal(t, statusFailed, p.end(t))
				require.Contains(t, p.logs(), "Handed over the slots")
				rest := start(t, file, "run", "--once", "--to", "console://stdout", "--lease", "10m", "--publish-timeout", "4m", "--close-timeout", "4m", "--database-url", url)
				require.Zero(t, rest.end(t), rest.logs())
				require.Equal(t, []string{`{}`}, rest.payloads(), "without waiting for the lease")
			})
		})
	}
}

// SIGTERM never cuts a delivery off, nor does an interrupt that follows at once: timeout signals a process and its group, and so sends two.
func TestSignalsOfSupervisorsDoNotCutOff(t *testing.T) {
	t.Parallel()
	file := binary(t)
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, url string, open func() *sql.DB) {
				p, answer := stuck(t, file, url, open, signal, signal, signal)
				select {
				case <-p.exited:
					t.Fatalf("it did not wait; its log:\n%s", p.logs())
				case <-time.After(secondThought):
				}
				require.NoError(t, p.Process.Signal(syscall.SIGTERM))
				answer()
				require.Zero(t, p.end(t), p.logs())
				require.Contains(t, p.logs(), "Stopped; outcomes of in-flight deliveries are stored")
				var left int
				require.NoError(t, open().QueryRowContext(t.Context(), `SELECT count(*) FROM outbox_events WHERE status <> 'SENT'`).Scan(&left))
				require.Zero(t, left)
			})
		})
	}
}

// relayed returns the URL of a database with tables, and another that goes there through a relay, which can be cut.
func relayed(t *testing.T) (direct, through string, relay *adapterstest.Relay) {
	t.Helper()
	direct = testdb.PostgresDSN(t)
	u, err := url.Parse(direct)
	require.NoError(t, err)
	relay = adapterstest.NewRelay(t, u.Host)
	u.Host = relay.Addr
	outbox("migrate", "up", "--database-url", direct).require(t, statusDone)
	return direct, u.String(), relay
}

// A database that goes away is waited for, without a busy loop.
func TestDatabaseThatGoesDownLater(t *testing.T) {
	t.Parallel()
	file := binary(t)
	direct, through, relay := relayed(t)
	db, err := sql.Open("pgx", direct)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()

	p := start(t, file, "run", "--to", "console://stdout", "--database-url", through)
	insert(t, db, "orders", `{"n":1}`)
	await.That(t, func() bool { return len(p.payloads()) == 1 })
	relay.Down(t)
	p.waitFor(t, "level=ERROR") // of the read, the lease or the writing of the outcome
	insert(t, db, "orders", `{"n":2}`)
	select {
	case <-p.exited:
		t.Fatalf("the forwarder gave up:\n%s", p.logs())
	case <-time.After(2 * time.Second):
	}
	relay.Up(t)
	await.That(t, func() bool { return len(p.payloads()) == 2 }, "log:\n%s", await.Later(p.logs))
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	require.Zero(t, p.end(t), p.logs())
	require.Equal(t, []string{`{"n":1}`, `{"n":2}`}, p.payloads())
	cpu := p.ProcessState.UserTime() + p.ProcessState.SystemTime()
	require.Less(t, cpu, 2*time.Second, "processor time for some seconds of waiting")
}

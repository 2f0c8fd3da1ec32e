package main

import (
	"cmp"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/await"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
)

const troublePage = "../../docs/troubleshooting.md"

// A case makes the trouble of one section of the page. Then the section's commands are run as they stand there, by a shell.
type troubleCase struct {
	make func(*trouble)
	// before is called before a command that begins so.
	before map[string]func(*trouble)
	// numbers differ from run to run.
	numbers bool
	// server tells that it needs a PostgreSQL server of its own.
	server bool
	// after is called when all is over, beside what every case is asked: diagnose finds nothing, and what was stored is delivered.
	after func(*trouble)
	// patience is how long what a command shows may take to come about; await.Patience by default.
	patience time.Duration
}

// trouble is a database with an outbox, a destination named shop, and forwarders.
type trouble struct {
	*testing.T
	url, directory string
	server         *testdb.Server // nil when it is that of other tests too
	db             *sql.DB
	shop           *market
	env            []string
	replace        []string // what the page says, and what it is here
	last           *process
	text           string // of the section
	asked          int
	slow           chan struct{}
	patience       time.Duration
}

// Every symptom of the page is made, is named by the command that the page shows, and goes away with the commands that the page gives.
func TestTroublePage(t *testing.T) {
	t.Parallel()
	file := binary(t)
	page, err := os.ReadFile(troublePage)
	require.NoError(t, err)
	sections := map[string]string{}
	var titles []string
	for _, part := range strings.Split(string(page), "\n### ")[1:] {
		part, _, _ = strings.Cut(part, "\n## ")
		title, text, _ := strings.Cut(part, "\n")
		sections[title], titles = text, append(titles, title)
		anchor := "#" + strings.ToLower(strings.NewReplacer(" ", "-", ",", "", "'", "").Replace(title))
		require.Contains(t, string(page), "("+anchor+")", "the table leads to each section")
	}
	var cases []string
	for title := range troubles {
		cases = append(cases, title)
	}
	require.ElementsMatch(t, titles, cases)
	for title, c := range troubles {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			x := newTrouble(t, c, filepath.Dir(file), sections[title])
			c.make(x)
			x.run(c)
			if c.after != nil {
				c.after(x)
			}
			if x.last == nil {
				x.forward()
			}
			x.eventually("diagnose", func() (string, bool) {
				out, status := x.shell("outbox diagnose --over 0s")
				return out, status == 0 && strings.HasSuffix(out, "\nall is well\n") && nothingOpen.MatchString(out)
			})
			x.eventually("delivered", func() (string, bool) {
				out, _ := x.shell(`outbox tail --no-follow -n 100`)
				return out, !regexp.MustCompile(` (NEW|FAILED|DEAD) `).MatchString(out)
			})
		})
	}
}

func newTrouble(t *testing.T, c troubleCase, bin, text string) *trouble {
	psql := filepath.Dir(testdb.Program(t, "psql"))
	x := &trouble{T: t, shop: newMarket(t), directory: t.TempDir(), text: text,
		patience: cmp.Or(c.patience, await.Patience)}
	if c.server {
		x.server = testdb.NewServer(t)
		x.url = x.server.DSN()
	} else {
		x.url = testdb.PostgresDatabase(t)
	}
	x.db = testdb.Open(t, x.url)
	x.env = append(os.Environ(), "PATH="+bin+":"+psql+":"+os.Getenv("PATH"), "DATABASE_URL="+x.url, "ADMIN_URL="+x.url, "LOG_LEVEL=error",
		"BENTO_OUTBOX_DESTINATIONS=shop=http://"+x.shop.address, "BENTO_OUTBOX_BREAKER_PROBE=50ms", "BENTO_OUTBOX_SWEEP_INTERVAL=200ms")
	outbox("migrate", "up", "--database-url", x.url).require(t, statusDone)
	return x
}

func (x *trouble) exec(queries ...string) {
	x.Helper()
	for _, query := range queries {
		_, err := x.db.ExecContext(x.Context(), query)
		require.NoError(x, err, query)
	}
}

// insert stores n events of a tenant and a key to the shop.
func (x *trouble) insert(n int, tenant, key, more string) {
	x.Helper()
	x.exec(fmt.Sprintf(`INSERT INTO outbox (tenant_id, topic, payload, aggregate_type, aggregate_id, routing_config)
		SELECT '%s', 'orders', '{}', 'order', %s, '{"targets":[{"destination":"shop://orders"%s}]}' FROM generate_series(1, %d) i`, tenant, key, more, n))
}

// forward starts a forwarder.
func (x *trouble) forward(args ...string) {
	x.Helper()
	path := ""
	for _, v := range x.env {
		if p, found := strings.CutPrefix(v, "PATH="); found {
			path, _, _ = strings.Cut(p, ":")
		}
	}
	x.last = startIn(x.T, x.env, x.directory, filepath.Join(path, "outbox"), append([]string{"run"}, args...)...)
}

func (x *trouble) stop() {
	x.Helper()
	require.NoError(x, x.last.Process.Signal(syscall.SIGTERM))
	require.Zero(x, x.last.end(x.T), x.last.logs())
	x.last = nil
}

// shell runs a line of the page.
func (x *trouble) shell(line string) (output string, status int) {
	cmd := exec.CommandContext(x.Context(), "bash", "-c", strings.NewReplacer(x.replace...).Replace(line)) //nolint:gosec // of the page
	cmd.Env, cmd.Dir = x.env, x.directory
	var stdout, stderr buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		require.ErrorAs(x, err, &exit, line)
	}
	return stdout.String() + stderr.String(), cmd.ProcessState.ExitCode()
}

func (x *trouble) eventually(what string, f func() (string, bool)) {
	x.Helper()
	var last string
	for end := time.Now().Add(x.patience); ; {
		var ok bool
		if last, ok = f(); ok {
			return
		}
		if time.Now().After(end) {
			x.Fatalf("%s:\n%s", what, last)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// asking are the commands that change nothing: they are asked again until what they speak of has come about.
var asking = regexp.MustCompile(`^outbox (diagnose|health|stats|tail|dead list)\b`)

// run runs the commands of the section.
func (x *trouble) run(c troubleCase) {
	x.Helper()
	file := filepath.Join(x.TempDir(), "section.md")
	require.NoError(x, os.WriteFile(file, []byte(x.text), 0o600))
	for _, block := range transcripts(x.T, file) {
		status := statusDone
		for _, command := range block {
			line, want, _ := strings.Cut(strings.TrimPrefix(command, "$ "), "\n")
			for start, f := range c.before {
				if strings.HasPrefix(line, start) {
					f(x)
				}
			}
			if line == "echo $?" {
				require.Equal(x, strings.TrimSpace(want), fmt.Sprint(status), line)
				continue
			}
			if args, daemon := strings.CutPrefix(line, "outbox run"); daemon && strings.HasSuffix(line, " &") {
				if x.last != nil {
					x.stop()
				}
				x.forward(strings.Fields(strings.TrimSuffix(args, "&"))...)
				continue
			}
			steady := func(text string) string {
				text = identifier.ReplaceAllString(text, "ID")
				text = seconds.ReplaceAllString(steadied(text), "AGE")
				if c.numbers {
					text = anyNumber.ReplaceAllString(text, "#")
				}
				return text
			}
			want = strings.NewReplacer(x.replace...).Replace(want)
			again := asking.MatchString(line)
			x.eventually(line+"\nwant\n"+steady(want)+"\ngot", func() (string, bool) {
				var out string
				out, status = x.shell(line)
				ok := shows(steady(out), steady(want))
				if !ok && !again {
					x.Fatalf("%s\nwant\n%s\ngot\n%s", line, want, out)
				}
				return out, ok
			})
		}
	}
}

var (
	nothingOpen = regexp.MustCompile(`^pending +0 .*\nwaiting +0 .*\nheld +0 .*\ndead +0 `)

	identifier = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|stmtcache_[0-9a-f]+|database "\w+"|sorry, too many clients already|remaining connection slots are reserved[^;]*`)
	anyNumber  = regexp.MustCompile(`\d+(\.\d+)?`)
)

// shows tells whether text is what the page shows: … stands for lines that are left out.
func shows(text, page string) bool {
	lines := slices.Collect(strings.Lines(text))
	parts := strings.Split("\n"+page, "\n…\n")
	parts[0] = strings.TrimPrefix(parts[0], "\n")
	for i, part := range parts {
		want := slices.Collect(strings.Lines(part))
		if n := len(want); n > 0 && !strings.HasSuffix(want[n-1], "\n") {
			want[n-1] += "\n"
		}
		last := i == len(parts)-1
		found := -1
		for at := 0; at+len(want) <= len(lines) && found < 0; at++ {
			if slices.Equal(lines[at:at+len(want)], want) && (!last || at+len(want) == len(lines)) {
				found = at
			}
			if i == 0 {
				break
			}
		}
		if found < 0 {
			return false
		}
		lines = lines[found+len(want):]
	}
	return len(lines) == 0 || len(parts) > 1 && parts[len(parts)-1] == ""
}

func TestShows(t *testing.T) {
	t.Parallel()
	for page, want := range map[string]bool{
		"a\nb\nc\n": true, "…\nb\nc\n": true, "a\n…\n": true, "…\nb\n…\n": true, "a\n…\nc\n": true, "…\n": true,
		"": false, "a\n": false, "…\nb\n": false, "b\n…\n": false, "…\nd\n…\n": false, "…\nc\n…\nb\n…\n": false,
	} {
		require.Equal(t, want, shows("a\nb\nc\n", page), page)
	}
	require.True(t, shows("", ""))
}

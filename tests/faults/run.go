package faults

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/bento-outbox/watermill-outbox/schema"
)

// Config is what [Run] does.
type Config struct {
	Seed     uint64
	Duration time.Duration // of the workload and the faults
	Kinds    []Kind        // defaults to all
	// Forwarders is the number of processes. Defaults to 3.
	Forwarders int
	// Routers is how many of them run on a Router with AddTo, as in an application; the others run by themselves, as outbox run does.
	Routers int
	// Lease of the forwarders. Defaults to 4 s.
	Lease time.Duration
	// Rate is the number of transactions a second. Defaults to 100. Writers are their goroutines, by default 12.
	Rate, Writers int
	// Broken breaks the forwarders.
	Broken Broken
	// Patience is how long it may take at the end that nothing more is delivered, before what is missing counts as lost. Defaults to 1 minute.
	Patience time.Duration
	// Log gets a line about each fault; nil for nothing.
	Log io.Writer
}

// Result is what a run found.
type Result struct {
	Config  Config
	Verdict *Verdict
	Windows []Window
	Kafka   string
	Took    time.Duration // of the workload and the faults
	Drained time.Duration // from the end of the workload until nothing was left to do

	Left, Dead int            // deliveries, and events not looked at, when the run ended
	Statuses   map[string]int // of the events
	Refused    int            // publishes that failed
	Swept      int            // times that a sweep found what the rule of writers' locks had missed
	Crashes    []string       // forwarders that ended by themselves
}

// Failures returns what must not be; empty when every promise was kept.
func (r *Result) Failures() []string {
	var list []string
	for kind, n := range r.Verdict.Violations() {
		list = append(list, fmt.Sprintf("%s: %d times, such as\n    %s", kind, n, strings.Join(r.Verdict.Examples(kind), "\n    ")))
	}
	if r.Left > 0 {
		list = append(list, fmt.Sprintf("%d deliveries or events were still to do", r.Left))
	}
	if r.Dead > 0 {
		list = append(list, fmt.Sprintf("%d deliveries are dead", r.Dead))
	}
	if r.Swept > 0 {
		list = append(list, fmt.Sprintf("sweeps found events %d times that the rule of writers' locks had missed", r.Swept))
	}
	if r.Verdict.Committed == 0 {
		list = append(list, "nothing was committed")
	}
	return append(list, r.Crashes...)
}

// run is one audit under way.
type run struct {
	Config
	servers *Servers
	dir     string
	prefix  string
	url     string // of the database, directly
	db      *sql.DB

	members  []*member
	workload *process

	mu      sync.Mutex
	windows []Window
	crashes []string
}

// member is one forwarder process and its relays.
type member struct {
	name            string
	log             string
	router          bool
	postgres, redis *Relay

	mu       sync.Mutex
	process  *process
	expected bool // the process is being ended by the audit
	starts   int
}

// Run audits: it lets the workload and the forwarders run on servers while a nemesis applies the faults of the seed, heals everything, waits
// until nothing is left to do and checks what arrived. Runs that apply no faults to servers may share them.
func Run(ctx context.Context, servers *Servers, cfg Config) (_ *Result, err error) {
	if cfg.Kinds == nil {
		cfg.Kinds = Kinds
	}
	def := func(v *int, standard int) {
		if *v == 0 {
			*v = standard
		}
	}
	def(&cfg.Forwarders, 3)
	def(&cfg.Rate, 100)
	def(&cfg.Writers, 12)
	if cfg.Lease == 0 {
		cfg.Lease = 4 * time.Second
	}
	if cfg.Patience == 0 {
		cfg.Patience = time.Minute
	}
	if cfg.Log == nil {
		cfg.Log = io.Discard
	}
	r := &run{Config: cfg, servers: servers, prefix: fmt.Sprintf("r%08x.", rand.Uint32())}
	if r.dir, err = os.MkdirTemp(servers.dir, "run-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	begun := time.Now()
	if err := r.nemesis(ctx); err != nil {
		return nil, err
	}
	result := &Result{Config: cfg, Kafka: servers.KafkaName(), Took: time.Since(begun)}
	if !r.workload.stop(syscall.SIGTERM, 30*time.Second) || r.workload.err != nil {
		return nil, fmt.Errorf("the workload failed: %w\n%s", r.workload.err, tail(filepath.Join(r.dir, "workload.log"), 20))
	}
	if err := commitPrepared(ctx, r.db, 0); err != nil {
		return nil, err
	}
	if err := r.drain(ctx, result); err != nil {
		return nil, err
	}
	r.stopForwarders()
	if err := r.judge(ctx, result); err != nil {
		return nil, err
	}
	return result, nil
}

func (r *run) logf(format string, args ...any) {
	_, _ = fmt.Fprintf(r.Log, time.Now().Format("15:04:05.0")+" "+format+"\n", args...)
}

func (r *run) prepare(ctx context.Context) error {
	name := strings.ReplaceAll(strings.TrimSuffix(r.prefix, "."), "-", "_")
	admin, err := sql.Open("pgx", r.servers.Postgres.URL)
	if err != nil {
		return err
	}
	_, err = admin.ExecContext(ctx, "CREATE DATABASE "+name)
	if err = errors.Join(err, admin.Close()); err != nil {
		return err
	}
	r.url = postgresURL(r.servers.Postgres.Addr, name)
	if r.db, err = sql.Open("pgx", r.url); err != nil {
		return err
	}
	migrator, err := schema.NewMigrator(r.db, schema.Config{})
	if err != nil {
		return err
	}
	if _, err := migrator.Up(ctx); err != nil {
		return err
	}
	if _, err := r.db.ExecContext(ctx, fmt.Sprintf(businessTables, keys-1)); err != nil {
		return err
	}
	if err := r.createTopics(ctx); err != nil {
		return err
	}
	for i := range r.Forwarders {
		m := &member{name: fmt.Sprint("forwarder ", i), log: filepath.Join(r.dir, fmt.Sprintf("forwarder-%d.log", i)), router: i < r.Routers}
		if m.postgres, err = NewRelay(r.servers.Postgres.Addr); err != nil {
			return err
		}
		r.members = append(r.members, m)
		if m.redis, err = NewRelay(r.servers.Redis.Addr); err != nil {
			return err
		}
		if err := r.startMember(m); err != nil {
			return err
		}
	}
	r.workload, err = again("workload", filepath.Join(r.dir, "workload.log"), assignment{
		Role: "workload", Database: r.url, Seed: r.Seed, Prefix: r.prefix, Journal: r.journal(), Rate: r.Rate, Writers: r.Writers,
	})
	return err
}

func (r *run) journal() string  { return filepath.Join(r.dir, "journal") }
func (r *run) refusals() string { return filepath.Join(r.dir, "refusals") }

func (r *run) createTopics(ctx context.Context) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(r.servers.Kafka.Addr))
	if err != nil {
		return err
	}
	defer c.Close()
	for _, d := range destinations {
		if name, topic, _ := strings.Cut(d, "://"); name == "kafka" {
			if _, err := kadm.NewClient(c).CreateTopic(ctx, 4, 1, nil, r.prefix+topic); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) startMember(m *member) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	broken := r.Broken
	if broken == IgnoresLease && m != r.members[0] {
		broken = "" // somebody must take over
	}
	database := strings.Replace(r.url, r.servers.Postgres.Addr, m.postgres.Addr, 1)
	p, err := again(m.name, m.log, assignment{
		Role: "forwarder", Database: database, Kafka: "kafka://" + r.servers.kafkaFront.Addr, Redis: "redis://" + m.redis.Addr, Lease: r.Lease,
		Broken: broken, Router: m.router, Prefix: r.prefix, Journal: r.refusals(),
	})
	if err != nil {
		return err
	}
	m.process, m.expected = p, false
	m.starts++
	go func() {
		<-p.done
		m.mu.Lock()
		crashed := !m.expected
		m.mu.Unlock()
		if crashed {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.crashes = append(r.crashes, fmt.Sprintf("%s ended by itself: %v\n%s", m.name, p.err, tail(m.log, 15)))
		}
	}()
	return nil
}

// endMember ends the process with sig, which is waited for.
func (m *member) end(sig syscall.Signal, patience time.Duration) (byItself bool) {
	m.mu.Lock()
	m.expected = true
	p := m.process
	m.mu.Unlock()
	return p.stop(sig, patience)
}

func (r *run) drain(ctx context.Context, result *Result) error {
	begun := time.Now()
	left, since := -1, time.Now()
	err := until(ctx, func() bool {
		var now int
		if err := r.db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM outbox_pending) +
			(SELECT count(*) FROM outbox_deliveries WHERE state IN ('waiting', 'held'))`).Scan(&now); err != nil {
			return false
		}
		if now != left {
			left, since = now, time.Now()
		}
		return now == 0 || time.Since(since) > r.Patience
	})
	result.Drained, result.Left = time.Since(begun), left
	return err
}

func (r *run) stopForwarders() {
	var all sync.WaitGroup
	for _, m := range r.members {
		all.Go(func() {
			byItself := m.end(syscall.SIGTERM, 40*time.Second)
			if err := m.process.err; !byItself || err != nil {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.crashes = append(r.crashes, fmt.Sprintf("%s did not stop as it should: %v\n%s", m.name, err, tail(m.log, 15)))
			}
		})
	}
	all.Wait()
}

func (r *run) judge(ctx context.Context, result *Result) error {
	transactions, err := readJournal(ctx, r.journal(), r.db)
	if err != nil {
		return err
	}
	arrivals, err := collect(ctx, r.servers, r.prefix)
	if err != nil {
		return err
	}
	refusals, err := readRefusals(r.refusals())
	if err != nil {
		return err
	}
	result.Windows, result.Refused = r.windows, len(refusals)
	result.Verdict = Check(History{Transactions: transactions, Arrivals: arrivals, Windows: r.windows, Refusals: refusals})
	for _, x := range result.Verdict.Slowest {
		r.logf("slow: %s of key %s at %s, committed %s, took %s", x.ID, x.Key, x.Destination, x.Committed.Format(clock), x.Took.Round(time.Millisecond))
	}
	result.Statuses = map[string]int{}
	rows, err := r.db.QueryContext(ctx, "SELECT status, count(*) FROM outbox_events GROUP BY 1")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var status string
		var n int
		if err := rows.Scan(&status, &n); err != nil {
			return err
		}
		result.Statuses[status] = n
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if err := r.db.QueryRowContext(ctx, "SELECT count(*) FROM outbox_deliveries WHERE state = 'dead'").Scan(&result.Dead); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	result.Crashes = r.crashes
	for _, m := range r.members {
		b, err := os.ReadFile(m.log)
		if err != nil {
			return err
		}
		result.Swept += strings.Count(string(b), "A sweep found events")
		for _, bad := range []string{"DATA RACE", "panic"} {
			if strings.Contains(string(b), bad) {
				result.Crashes = append(result.Crashes, fmt.Sprintf("%s: %s in %s", m.name, bad, m.log))
			}
		}
	}
	return nil
}

// close ends what is left of a run.
func (r *run) close() error {
	if r.workload != nil {
		r.workload.stop(syscall.SIGKILL, time.Second)
	}
	for _, m := range r.members {
		if m.process != nil {
			m.end(syscall.SIGKILL, time.Second)
		}
		m.postgres.Close()
		if m.redis != nil {
			m.redis.Close()
		}
	}
	if r.db != nil {
		return r.db.Close()
	}
	return nil
}

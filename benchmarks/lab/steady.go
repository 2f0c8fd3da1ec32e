package lab

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/benchmarks/internal/backlog"
	"github.com/bento-outbox/watermill-outbox/benchmarks/internal/sink"
	"github.com/bento-outbox/watermill-outbox/forwarder"
)

// Steady is a load at a constant rate, beside which ours forwards to nothing.
type Steady struct {
	DatabaseURL string        `json:"-"`    // PostgreSQL; the user needs CREATEDB
	Rate        int           `json:"rate"` // events a second; 0 for none, which measures what an idle forwarder costs
	Duration    time.Duration `json:"duration_ns"`
	// PerTransaction is how many events a transaction publishes; 1 when it is 0.
	PerTransaction int  `json:"events_per_transaction"`
	LowLatency     bool `json:"low_latency"` // the profile; else the defaults
	// Router runs the forwarder on a Router of the application, with AddTo; else it runs by itself, as outbox run does.
	Router bool `json:"router,omitempty"`
	// Held keeps a transaction with a snapshot and a transaction id open all the time, and another one in another database.
	Held bool `json:"held"`
	// Late is how often a transaction publishes, waits for 3 s and commits; 0 for never.
	Late time.Duration `json:"late_ns"`
	// Idle publishes one event after each such pause, instead of a rate.
	Idle time.Duration `json:"idle_ns"`

	Results string `json:"-"` // directory of raw results; none when empty
}

// steadyResult is what came of it. Latencies are from the return of COMMIT to the arrival, in milliseconds.
type steadyResult struct {
	Steady
	Machine   machine   `json:"machine"`
	Started   time.Time `json:"started"`
	Published int       `json:"published"`
	PerSecond float64   `json:"events_per_second"`
	P50       float64   `json:"p50_ms"`
	P99       float64   `json:"p99_ms"`
	Max       float64   `json:"max_ms"`
	LateMax   float64   `json:"late_max_ms"` // of the transactions that committed late
	LateCount int       `json:"late_count"`
	// Cores are what the forwarder's process, which publishes too, and the database's backends used, 1 for a whole core; Linux only.
	Cores         float64 `json:"cores"`
	BackendCores  float64 `json:"backend_cores"`
	Load          string  `json:"load"`
	backendPIDs   []int
	backendBefore float64
}

// RunSteady measures, and prints a row of a Markdown table to out.
func RunSteady(ctx context.Context, s Steady, out, progress io.Writer) error {
	if s.DatabaseURL == "" || s.Duration <= 0 || s.Rate < 0 || s.PerTransaction < 0 {
		return errors.New("the URL of the database is missing, or the duration or the rate is not positive")
	}
	s.PerTransaction = max(s.PerTransaction, 1)
	l, err := openLab(ctx, Settings{DatabaseURL: s.DatabaseURL}, progress)
	if err != nil {
		return err
	}
	defer l.close()
	database := namePrefix + "steady"
	if err := l.drop(ctx, database); err != nil {
		return err
	}
	if _, err := l.admin.Exec(ctx, `CREATE DATABASE `+database); err != nil {
		return err
	}
	l.templates[database] = database // to be dropped
	db, err := sql.Open("pgx", l.dsn(database))
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxIdleConns(20)
	if err := systems["ours"].create(ctx, db); err != nil {
		return err
	}
	if s.Held {
		for _, dsn := range []string{l.dsn(database), s.DatabaseURL} {
			release, err := hold(ctx, dsn)
			if err != nil {
				return err
			}
			defer release()
		}
	}
	r := steadyResult{Steady: s, Machine: l.machine(ctx), Started: time.Now().UTC(), Load: load1()}
	if err := r.run(ctx, l, db); err != nil {
		return err
	}
	if err := r.save(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "| %d/s for %s%s | %d | %.0f/s | %.1f | %.1f | %.1f | %.0f (%d) | %.1f %% + %.1f %% |\n", s.Rate, s.Duration, r.variant(), r.Published,
		r.PerSecond, r.P50, r.P99, r.Max, r.LateMax, r.LateCount, r.Cores*100, r.BackendCores*100)
	return err
}

// SteadyHeader is the header of the table that rows of [RunSteady] belong to.
const SteadyHeader = "| load | events | delivered | p50 ms | p99 ms | max ms | late max ms (of) | CPU: process + backends |\n|---|--:|--:|--:|--:|--:|--:|--:|\n"

func (r *steadyResult) variant() (text string) {
	add := func(on bool, what string) {
		if on {
			text += ", " + what
		}
	}
	add(r.PerTransaction > 1, fmt.Sprintf("%d a transaction", r.PerTransaction))
	add(r.LowLatency, "low latency")
	add(r.Router, "on a Router")
	add(r.Held, "transactions held open")
	add(r.Late > 0, "late commits")
	add(r.Idle > 0, "one after each "+r.Idle.String())
	return text
}

func (r *steadyResult) save() error {
	if r.Results == "" {
		return nil
	}
	if err := os.MkdirAll(r.Results, 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.Results, r.Started.Format("2006-01-02T150405")+"-steady.json"), append(b, '\n'), 0o644)
}

// hold opens a transaction that has a snapshot and a transaction id.
func hold(ctx context.Context, dsn string) (release func(), err error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	_, err = conn.Exec(ctx, `BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT txid_current()`, pgx.QueryExecModeSimpleProtocol)
	return func() { _ = conn.Close(context.WithoutCancel(ctx)) }, err
}

func (r *steadyResult) run(ctx context.Context, l *lab, db *sql.DB) error {
	a := newArrivals(int(r.Duration.Seconds()*float64(r.Rate)) + 100_000)
	cfg := forwarder.Config{}
	if r.LowLatency {
		cfg.Subscriber = forwarder.LowLatency()
	}
	f, err := forwarder.New(db, map[string]message.Publisher{"default": a}, cfg, errorLog{})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	forward := f.Run
	if r.Router {
		forward = func(ctx context.Context) error { return runOnRouter(ctx, f) }
	}
	go func() { ended <- forward(running) }()
	defer stop()

	var number atomic.Int64
	store := func(count int, wait time.Duration) error {
		last := int(number.Add(int64(count)))
		return r.store(ctx, db, a, last-count+1, count, wait)
	}
	if err := store(1, 0); err != nil { // the slots are taken and the connections are open when it has arrived
		return err
	}
	if err := await(ctx, a, 1); err != nil {
		return err
	}
	a.forget(1)
	cpu, begun := cpuSeconds(), time.Now()
	l.watchBackends(ctx, r)
	switch {
	case r.Idle > 0:
		for time.Since(begun) < r.Duration && ctx.Err() == nil {
			pause(ctx, r.Idle)
			if err := store(1, 0); err != nil {
				return err
			}
		}
	case r.Rate > 0:
		if err := r.load(ctx, begun, store); err != nil {
			return err
		}
	default:
		pause(ctx, r.Duration)
	}
	took := time.Since(begun)
	r.Published = int(number.Load()) - 1
	if err := await(ctx, a, int(number.Load())); err != nil {
		return err
	}
	r.PerSecond = float64(r.Published) / time.Since(begun).Seconds()
	r.Cores, r.BackendCores = (cpuSeconds()-cpu)/took.Seconds(), l.backendSeconds(r)/took.Seconds()
	stop()
	if err := <-ended; err != nil {
		return err
	}
	usual, late := a.latencies()
	if len(usual) > 0 {
		at := func(q float64) float64 { return usual[min(int(q*float64(len(usual))), len(usual)-1)] }
		r.P50, r.P99, r.Max = at(0.5), at(0.99), usual[len(usual)-1]
	}
	if r.LateCount = len(late); r.LateCount > 0 {
		r.LateMax = late[len(late)-1]
	}
	return nil
}

// load publishes at the rate, by as many writers as that takes, and late commits beside them.
func (r *steadyResult) load(ctx context.Context, begun time.Time, store func(count int, wait time.Duration) error) error {
	const writers = 16
	var next atomic.Int64
	errs := make(chan error, writers+1)
	for range writers {
		go func() {
			for {
				due := time.Duration(next.Add(int64(r.PerTransaction))) * time.Second / time.Duration(r.Rate)
				if due > r.Duration || ctx.Err() != nil {
					errs <- ctx.Err()
					return
				}
				pause(ctx, time.Until(begun.Add(due)))
				if err := store(r.PerTransaction, 0); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	go func() {
		for r.Late > 0 && time.Since(begun) < r.Duration-3*time.Second && ctx.Err() == nil {
			pause(ctx, r.Late)
			if err := store(1, 3*time.Second); err != nil {
				errs <- err
				return
			}
		}
		errs <- nil
	}()
	var all []error
	for range writers + 1 {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// store publishes count events from first on in a transaction that stays open for wait after them.
func (r *steadyResult) store(ctx context.Context, db *sql.DB, a *arrivals, first, count int, wait time.Duration) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	p, err := outbox.NewPublisher(tx, outbox.Config{}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	messages := make([]*message.Message, count)
	for i := range messages {
		n := first + i
		key := n % 10_000
		messages[i] = message.NewMessage(sink.ID(key, n), backlog.Payload(key, n))
		outbox.SetAggregate(messages[i], "order", strconv.Itoa(key))
	}
	if err := p.PublishContext(ctx, backlog.Topic, messages...); err != nil {
		return err
	}
	if wait > 0 {
		pause(ctx, wait)
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	for n := first; n < first+count; n++ {
		a.commit(n, wait > 0)
	}
	return nil
}

// watchBackends notes what the backends of the database have used so far.
func (l *lab) watchBackends(ctx context.Context, r *steadyResult) {
	rows, err := l.admin.Query(ctx, `SELECT pid FROM pg_stat_activity WHERE datname = $1`, namePrefix+"steady")
	if err != nil {
		return
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err == nil {
		r.backendPIDs = pids
		r.backendBefore = processSeconds(pids)
	}
}

func (l *lab) backendSeconds(r *steadyResult) float64 {
	return processSeconds(r.backendPIDs) - r.backendBefore
}

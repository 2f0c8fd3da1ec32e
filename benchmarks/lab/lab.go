package lab

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"

	"github.com/bento-outbox/watermill-outbox/benchmarks/internal/backlog"
	"github.com/bento-outbox/watermill-outbox/benchmarks/internal/sink"
)

// lab runs measurements. Each has a database of its own, copied from a template that holds the backlog, so that every run of a system
// finds the same tables.
type lab struct {
	Settings
	admin     *pgx.Conn
	version   int
	templates map[string]string // database by system and backlog
	progress  io.Writer
}

// measurement is one run.
type measurement struct {
	System      string  `json:"system"`
	Destination string  `json:"destination"`
	Events      int     `json:"events"`
	Repeat      int     `json:"repeat"`
	Whole       bool    `json:"whole"` // the whole backlog was drained, not only a window
	Seconds     float64 `json:"seconds"`
	PerSecond   float64 `json:"events_per_second"`
	sink.Counts
	Unfinished int64   `json:"unfinished"` // rows left that say that something is to be done
	PeakMB     float64 `json:"peak_mb"`    // most memory of this process: what the Go runtime had from the system and not given back
	AllocBytes uint64  `json:"alloc_bytes"`
	Allocs     uint64  `json:"allocs"`
	CPUSeconds float64 `json:"cpu_seconds"` // of this process: the forwarder and its clients, not the servers
	Load       string  `json:"load"`        // of the machine before the run
}

// namePrefix starts the names of all databases; several commands may run on one server.
var namePrefix = fmt.Sprintf("watermill_outbox_bench_%d_", os.Getpid())

func openLab(ctx context.Context, s Settings, progress io.Writer) (*lab, error) {
	admin, err := pgx.Connect(ctx, s.DatabaseURL)
	if err != nil {
		return nil, err
	}
	l := &lab{Settings: s, admin: admin, templates: map[string]string{}, progress: progress}
	if err := admin.QueryRow(ctx, `SELECT current_setting('server_version_num')::int`).Scan(&l.version); err != nil {
		return nil, err
	}
	if l.machine(ctx).Fsync != "on" {
		fmt.Fprintln(progress, "fsync is off on this server: the figures mean little")
	}
	return l, nil
}

// close drops the templates.
func (l *lab) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, name := range l.templates {
		if err := l.drop(ctx, name); err != nil {
			fmt.Fprintln(l.progress, err)
		}
	}
	_ = l.admin.Close(ctx)
}

func (l *lab) drop(ctx context.Context, name string) error {
	_, err := l.admin.Exec(ctx, `DROP DATABASE IF EXISTS `+name)
	return err
}

// series runs everything, the systems in turn within each repeat.
func (l *lab) series(ctx context.Context, done func(measurement) error) error {
	for _, events := range l.Events {
		for repeat := range l.Repeats {
			for _, destination := range l.Destinations {
				if !l.only.MatchString(fmt.Sprintf("%s/%d", destination, events)) {
					continue
				}
				for _, name := range l.Systems {
					m, err := l.measure(ctx, name, destination, events)
					if err != nil {
						return fmt.Errorf("%s to %s from %d: %w", name, destination, events, err)
					}
					m.Repeat = repeat + 1
					fmt.Fprintf(l.progress, "%d/%d %-5s to %-8s from %8d: %8.0f/s (%d in %.1f s; an event %.1f us CPU, %d allocations, %d B; peak %.0f MB)\n",
						m.Repeat, l.Repeats, name, destination, events, m.PerSecond, m.Delivered, m.Seconds, m.CPUSeconds*1e6/float64(max(m.Delivered, 1)),
						m.Allocs/uint64(max(m.Delivered, 1)), m.AllocBytes/uint64(max(m.Delivered, 1)), m.PeakMB)
					if err := done(m); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// template returns the name of a database with a backlog of events.
func (l *lab) template(ctx context.Context, name string, events int) (string, error) {
	system := systems[name]
	database := fmt.Sprintf("%s%s_%d", namePrefix, system.tables, events)
	if l.templates[database] != "" {
		return database, nil
	}
	start := time.Now()
	if l.Progress != nil {
		l.Progress(0, fmt.Sprintf("filling with %d events", events))
	}
	if err := l.drop(ctx, database); err != nil {
		return "", err
	}
	if _, err := l.admin.Exec(ctx, `CREATE DATABASE `+database); err != nil {
		return "", err
	}
	l.templates[database] = database
	db, err := sql.Open("pgx", l.dsn(database))
	if err != nil {
		return "", err
	}
	err = system.create(ctx, db)
	if err = errors.Join(err, db.Close()); err != nil {
		return "", err
	}
	conn, err := pgx.Connect(ctx, l.dsn(database))
	if err != nil {
		return "", err
	}
	if l.Finished > 0 && system.tables == "ours" {
		err = backlog.Finish(ctx, conn, system.insert(l.Payload), l.Finished)
	}
	if err == nil {
		err = backlog.Fill(ctx, conn, system.insert(l.Payload), backlog.Keys(events, l.Keys, l.Zipf))
	}
	if err == nil && system.prepare != nil {
		err = system.prepare(ctx, conn)
	}
	if err = errors.Join(err, conn.Close(ctx)); err != nil {
		return "", err
	}
	fmt.Fprintf(l.progress, "filled %d events for %s in %.1f s\n", events, system.tables, time.Since(start).Seconds())
	return database, nil
}

func (l *lab) dsn(database string) string {
	u, err := url.Parse(l.DatabaseURL)
	if err != nil { // it connected before, so it is a list of key=value
		return l.DatabaseURL + " dbname=" + database
	}
	u.Path = "/" + database
	return u.String()
}

// measure drains one backlog.
func (l *lab) measure(ctx context.Context, name, destination string, events int) (m measurement, err error) {
	m = measurement{System: name, Destination: destination, Events: events}
	template, err := l.template(ctx, name, events)
	if err != nil {
		return m, err
	}
	database := namePrefix + "run"
	copyFiles := ""
	if l.version >= 15_00_00 {
		copyFiles = ` STRATEGY file_copy` // it also leaves nothing for a checkpoint to write during the run
	}
	if err := l.drop(ctx, database); err != nil {
		return m, err
	}
	if _, err := l.admin.Exec(ctx, `CREATE DATABASE `+database+` TEMPLATE `+template+copyFiles); err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, l.drop(context.WithoutCancel(ctx), database)) }()
	db, err := sql.Open("pgx", l.dsn(database))
	if err != nil {
		return m, err
	}
	defer db.Close()
	db.SetMaxIdleConns(10)

	if err := empty(ctx, l.Settings, destination); err != nil {
		return m, err
	}
	var to message.Publisher
	if !systems[name].shared { // else the processes open it
		if to, err = destinations[destination](ctx, l.Settings, name); err != nil {
			return m, err
		}
	}
	if to != nil {
		defer to.Close()
	}
	m.Load = load1()
	if err := l.drain(ctx, &m, run{Settings: l.Settings, dsn: l.dsn(database), db: db, to: to, name: destination}); err != nil {
		return m, err
	}
	if left := systems[name].left; left != "" {
		if err := db.QueryRowContext(ctx, left).Scan(&m.Unfinished); err != nil {
			return m, err
		}
		if m.Whole && m.Unfinished > 0 {
			return m, fmt.Errorf("%d rows say that something is left to be done", m.Unfinished)
		}
	}
	return m, m.Err()
}

// drain runs the system until its backlog is empty or the window has passed, and takes the time until then.
func (l *lab) drain(ctx context.Context, m *measurement, r run) error {
	s := systems[m.System]
	check := sink.New(r.to, m.Events, l.Keys)
	r.to = check
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	window := make(<-chan time.Time)
	if !s.whole {
		t := time.NewTimer(l.Window)
		defer t.Stop()
		window = t.C
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	stopProfile, err := l.startProfile(m)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	cpuBefore := cpuSeconds()
	start := time.Now()
	peak := watchMemory()
	defer l.report(m, check)()
	go func() { ended <- s.forward(ctx, r) }()
	select {
	case <-check.Done():
		m.Whole = true
	case <-window:
	case err := <-ended:
		return errors.Join(errors.New("it ended before the backlog was empty"), err)
	}
	m.Seconds = time.Since(start).Seconds()
	delivered := check.Delivered()
	m.PeakMB = peak()
	m.CPUSeconds = cpuSeconds() - cpuBefore
	runtime.ReadMemStats(&after)
	if err := stopProfile(); err != nil {
		return err
	}
	cancel()
	if err := <-ended; err != nil {
		return err
	}
	m.PerSecond = float64(delivered) / m.Seconds
	m.AllocBytes, m.Allocs = after.TotalAlloc-before.TotalAlloc, after.Mallocs-before.Mallocs
	m.Counts = check.Counts()
	if !m.Whole {
		m.Failed = 0 // what was cut off
	}
	if s.shared {
		m.Disordered = 0
	}
	m.Delivered = delivered
	return nil
}

// report reports how far a run is until the function that it returns is called.
func (l *lab) report(m *measurement, check *sink.Sink) (end func()) {
	if l.Progress == nil {
		return func() {}
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(100 * time.Millisecond)
		defer t.Stop()
		for {
			l.Progress(float64(check.Delivered())/float64(m.Events), fmt.Sprintf("%s to %s", m.System, m.Destination))
			select {
			case <-t.C:
			case <-stop:
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-done
	}
}

// startProfile writes profiles of a run of ours, where a directory for them was given.
func (l *lab) startProfile(m *measurement) (stop func() error, err error) {
	if l.Profile == "" || m.System != "ours" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(l.Profile, 0o755); err != nil {
		return nil, err
	}
	base := filepath.Join(l.Profile, fmt.Sprintf("%s-%d", m.Destination, m.Events))
	f, err := os.Create(base + ".cpu.prof")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		allocs, err := os.Create(base + ".allocs.prof")
		if err != nil {
			return err
		}
		return errors.Join(f.Close(), pprof.Lookup("allocs").WriteTo(allocs, 0), allocs.Close())
	}, nil
}

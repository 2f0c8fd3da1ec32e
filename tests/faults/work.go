package faults

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/router"
)

const (
	keys      = 40 // of writers that lock them
	looseKeys = 10 // of writers that do not
	aggregate = "account"
)

// businessTables are what the workload keeps its business in. A row of business is one transaction: it is there when that was committed.
const businessTables = `
	CREATE TABLE accounts (key text PRIMARY KEY, n bigint NOT NULL DEFAULT 0);
	INSERT INTO accounts (key) SELECT 'a' || i FROM generate_series(0, %d) i;
	CREATE TABLE business (tx text PRIMARY KEY)`

// journalLine is one line of the journal: what a transaction is about to commit or roll back, then how that ended.
type journalLine struct {
	Tx      string    `json:"tx"`
	Events  []Event   `json:"events,omitempty"`
	Undone  []Event   `json:"undone,omitempty"`
	Outcome Outcome   `json:"outcome,omitempty"`
	At      time.Time `json:"at"`
}

type worker struct {
	a      assignment
	db     *sql.DB
	routes *router.Table
	rnd    *rand.Rand
	number int
	done   int // transactions

	journal *journal
}

type journal struct {
	mu   sync.Mutex
	file *os.File
}

func (j *journal) write(line journalLine) error {
	b, err := json.Marshal(line)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	_, err = j.file.Write(append(b, '\n'))
	return err
}

// work is the workload, until SIGTERM.
func work(a assignment) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	db, err := sql.Open("pgx", a.Database)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(2 * a.Writers)
	db.SetMaxIdleConns(2 * a.Writers)
	file, err := os.OpenFile(a.Journal, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	routes, err := router.NewTable(router.Config{Policies: policies()})
	if err != nil {
		return err
	}
	j := &journal{file: file}
	var all sync.WaitGroup
	failed := make(chan error, a.Writers)
	for i := range a.Writers {
		w := &worker{a: a, db: db, routes: routes, rnd: rand.New(rand.NewPCG(a.Seed, uint64(100+i))), number: i, journal: j}
		all.Go(func() { failed <- w.run(ctx) })
	}
	all.Go(func() { resolvePrepared(ctx, db) })
	all.Wait()
	close(failed)
	var errs []error
	for err := range failed {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (w *worker) run(ctx context.Context) error {
	pace := time.NewTicker(time.Second * time.Duration(w.a.Writers) / time.Duration(w.a.Rate))
	defer pace.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-pace.C:
		}
		// What is to be done is drawn before anything can fail, so that the seed says it whatever happens.
		p := w.draw()
		w.done++
		begun, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		line, err := w.transact(begun, p)
		cancel()
		if line.Events != nil || line.Undone != nil {
			line.At = time.Now()
			line.Events, line.Undone = nil, nil
			if err := w.journal.write(line); err != nil {
				return err
			}
		}
		if err != nil && wait(ctx, 100*time.Millisecond) != nil {
			return nil
		}
	}
}

// transaction is what one transaction will do.
type transaction struct {
	id       string
	locked   bool
	keys     []string
	each     []int         // events of each key
	undo     bool          // publishes something in a savepoint that it rolls back
	slow     time.Duration // stays open, after it has published
	rollback bool
	prepare  bool // commits in two phases
	details  uint64
}

func (w *worker) draw() transaction {
	r := w.rnd
	p := transaction{id: fmt.Sprintf("%d-%d", w.number, w.done), locked: r.IntN(5) > 0, details: r.Uint64()}
	n, prefix, of := 1+r.IntN(10)/9, "a", keys
	if !p.locked {
		prefix, of = "loose", looseKeys
	}
	for range n {
		k := fmt.Sprintf("%s%d", prefix, r.IntN(of))
		if !slices.Contains(p.keys, k) {
			p.keys, p.each = append(p.keys, k), append(p.each, 1+r.IntN(3))
		}
	}
	slices.Sort(p.keys) // writers that lock two keys lock them in one order
	p.undo = r.IntN(20) == 0
	if r.IntN(20) == 0 {
		p.slow = 50*time.Millisecond + time.Duration(r.Int64N(int64(1500*time.Millisecond)))
	}
	p.rollback = r.IntN(8) == 0
	p.prepare = r.IntN(33) == 0
	return p
}

// transact runs one transaction. The line tells how it ended; it is empty when nothing was to be committed yet.
func (w *worker) transact(ctx context.Context, p transaction) (journalLine, error) {
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return journalLine{}, err
	}
	defer func() { _ = tx.Rollback() }()
	line := journalLine{Tx: p.id, Outcome: RolledBack}
	if err := w.business(ctx, tx, p, &line); err != nil {
		return line, err
	}
	if p.slow > 0 {
		if _, err := tx.ExecContext(ctx, "SELECT pg_sleep($1)", p.slow.Seconds()); err != nil {
			return line, err
		}
	}
	switch {
	case p.rollback:
		return line, tx.Rollback()
	case p.prepare:
		line.Outcome = Unknown
		if _, err := tx.ExecContext(ctx, "PREPARE TRANSACTION '"+p.id+"'"); err != nil {
			return line, err
		}
		_ = tx.Commit() // nothing is open any more: a warning
		if _, err := w.db.ExecContext(ctx, "COMMIT PREPARED '"+p.id+"'"); err != nil {
			return line, err
		}
	default:
		line.Outcome = Unknown
		if err := tx.Commit(); err != nil {
			return line, err
		}
	}
	line.Outcome = Committed
	return line, nil
}

// business does the transaction's work, and notes in the journal what it is going to commit.
func (w *worker) business(ctx context.Context, tx *sql.Tx, p transaction, line *journalLine) error {
	rnd := rand.New(rand.NewPCG(p.details, 2))
	event := func(key string, n int64) Event {
		return Event{
			ID: fmt.Sprintf("%s-%d", p.id, len(line.Events)+len(line.Undone)), Key: key, N: n, Ordered: p.locked,
			Plan: rnd.IntN(len(plans)), VIP: rnd.IntN(3) == 0, Amount: rnd.IntN(1000),
		}
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO business (tx) VALUES ($1)", p.id); err != nil {
		return err
	}
	for i, key := range p.keys {
		var n int64
		if p.locked {
			if err := tx.QueryRowContext(ctx, "SELECT n FROM accounts WHERE key = $1 FOR UPDATE", key).Scan(&n); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "UPDATE accounts SET n = n + $2 WHERE key = $1", key, p.each[i]); err != nil {
				return err
			}
		}
		if p.undo {
			if err := w.undone(ctx, tx, event(key, n+1), line); err != nil {
				return err
			}
		}
		var batch []Event
		for j := range p.each[i] {
			e := event(key, n+1+int64(j))
			line.Events = append(line.Events, e)
			batch = append(batch, e)
		}
		// Written before it can be committed: a line too many does no harm.
		if err := w.journal.write(journalLine{Tx: p.id, Events: batch, At: time.Now()}); err != nil {
			return err
		}
		if err := w.publish(ctx, tx, batch...); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) undone(ctx context.Context, tx *sql.Tx, e Event, line *journalLine) error {
	line.Undone = append(line.Undone, e)
	if err := w.journal.write(journalLine{Tx: line.Tx, Undone: []Event{e}, At: time.Now()}); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "SAVEPOINT undo"); err != nil {
		return err
	}
	if err := w.publish(ctx, tx, e); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT undo")
	return err
}

func (w *worker) publish(ctx context.Context, tx *sql.Tx, events ...Event) error {
	pub, err := outbox.NewPublisher(tx, outbox.Config{Routes: w.routes}, nil)
	if err != nil {
		return err
	}
	var msgs []*message.Message
	for _, e := range events {
		m := message.NewMessage(e.ID, e.payload())
		outbox.SetAggregate(m, aggregate, e.Key)
		outbox.SetRoutingConfig(m, []byte(routingConfig(e.Plan, w.a.Prefix, patient)), "")
		msgs = append(msgs, m)
	}
	return pub.PublishContext(ctx, "business", msgs...)
}

// resolvePrepared commits what was prepared by writers that lost their connection.
func resolvePrepared(ctx context.Context, db *sql.DB) {
	for wait(ctx, 500*time.Millisecond) == nil {
		_ = commitPrepared(ctx, db, 2*time.Second)
	}
}

// commitPrepared commits the transactions that have been prepared for longer than age.
func commitPrepared(ctx context.Context, db *sql.DB, age time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	rows, err := db.QueryContext(ctx, `SELECT gid FROM pg_prepared_xacts
		WHERE database = current_database() AND prepared <= clock_timestamp() - make_interval(secs => $1)`, age.Seconds())
	if err != nil {
		return err
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return err
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := db.ExecContext(ctx, "COMMIT PREPARED '"+id+"'"); err != nil {
			return err
		}
	}
	return nil
}

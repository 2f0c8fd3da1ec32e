package engine

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// world is a model of PostgreSQL as far as writers and one reader of one slot see it.
type world struct {
	t      *rapid.T
	server int
	last   int64
	xids   int64
	names  int
	txs    []*transaction
	rows   []*row // by seq

	// the reader
	marks   marks
	next    int64
	stage   stage
	mark    store.Mark
	asked   int // time of the ask
	writers []store.Writer
	taken   map[int64]bool

	now int
}

type stage int

const (
	resting stage = iota
	hasAsked
	hasListed
)

type transaction struct {
	name      string
	xid       int64
	locked    bool
	prepared  bool
	ended     bool // no step is left
	visible   bool
	savepoint int   // rows that a rollback to the savepoint leaves
	free      int   // when its locks were released, 0 when never
	rows      []int // indexes of world.rows
	number    int64 // taken, its row not yet inserted
}

type row struct {
	seq    int64
	tx     *transaction
	gone   bool
	number int // when its number was taken
}

func (w *world) begin() {
	w.names++
	w.txs = append(w.txs, &transaction{name: fmt.Sprintf("3/%d", w.names)})
}

func (w *world) pick(what string, fit func(*transaction) bool) *transaction {
	var list []*transaction
	for _, tx := range w.txs {
		if !tx.ended && fit(tx) {
			list = append(list, tx)
		}
	}
	if len(list) == 0 {
		w.t.Skip("no transaction to ", what)
	}
	return rapid.SampledFrom(list).Draw(w.t, what)
}

func open(tx *transaction) bool   { return !tx.visible && !tx.prepared }
func locked(tx *transaction) bool { return open(tx) && tx.locked }

func (w *world) lock(*rapid.T) {
	tx := w.pick("lock", func(tx *transaction) bool { return open(tx) && !tx.locked })
	tx.locked, tx.savepoint = true, len(tx.rows)
}

func (w *world) takeNumber(*rapid.T) {
	tx := w.pick("take a number", func(tx *transaction) bool { return locked(tx) && tx.number == 0 })
	w.last++
	tx.number = w.last
	w.rows = append(w.rows, &row{seq: tx.number, tx: tx, gone: true, number: w.now})
	tx.rows = append(tx.rows, len(w.rows)-1)
	// The transaction id is there at the latest with the row. What takes a number and waits without one is not modelled.
	if tx.xid == 0 {
		w.xids++
		tx.xid = w.xids
	}
}

func (w *world) insert(*rapid.T) {
	tx := w.pick("insert", func(tx *transaction) bool { return locked(tx) && tx.number != 0 })
	w.rows[tx.rows[len(tx.rows)-1]].gone = false
	tx.number = 0
}

// rollbackTo gives up the rows since the savepoint and the lock, which was taken after it.
func (w *world) rollbackTo(*rapid.T) {
	tx := w.pick("roll back to the savepoint", func(tx *transaction) bool { return locked(tx) && tx.savepoint == 0 })
	for _, i := range tx.rows {
		w.rows[i].gone = true
	}
	tx.rows, tx.number, tx.locked = nil, 0, false
}

func (w *world) rollback(*rapid.T) {
	tx := w.pick("roll back", func(tx *transaction) bool { return !tx.visible })
	w.abort(tx)
}

func (w *world) abort(tx *transaction) {
	for _, i := range tx.rows {
		w.rows[i].gone = true
	}
	tx.ended, tx.locked = true, false
}

func (w *world) prepare(*rapid.T) {
	tx := w.pick("prepare", func(tx *transaction) bool { return open(tx) && tx.xid != 0 && tx.number == 0 })
	tx.prepared = true
	if rapid.Bool().Draw(w.t, "old release") { // PostgreSQL before 14.1 renames at once
		tx.name = fmt.Sprintf("-1/%d", tx.xid)
	}
}

func (w *world) commit(*rapid.T) {
	tx := w.pick("commit", func(tx *transaction) bool { return !tx.visible && tx.number == 0 })
	tx.visible = true // the lock goes in a step of its own
}

func (w *world) release(*rapid.T) {
	tx := w.pick("release", func(tx *transaction) bool { return tx.visible })
	tx.locked, tx.ended, tx.free = false, true, w.now
}

func (w *world) restart(t *rapid.T) {
	if rapid.IntRange(0, 4).Draw(t, "restart") > 0 {
		t.Skip("rare")
	}
	w.server++
	w.stage = resting // its statement failed, so the reader forgets everything
	w.marks.reset()
	w.next = 0
	for _, tx := range w.txs {
		switch {
		case tx.ended:
		case tx.visible:
			tx.locked, tx.ended, tx.free = false, true, w.now
		case tx.prepared:
			tx.name = fmt.Sprintf("-1/%d", tx.xid)
		default:
			w.abort(tx)
		}
	}
}

// poll does the next step of the reader.
func (w *world) poll(*rapid.T) {
	switch w.stage {
	case resting:
		w.mark, w.asked = store.Mark{Last: w.last, Server: fmt.Sprint(w.server)}, w.now
		if w.marks.quiet(w.mark) {
			w.check()
			return
		}
		w.stage = hasAsked
	case hasAsked:
		w.writers = nil
		for _, tx := range w.txs {
			if tx.locked {
				w.writers = append(w.writers, store.Writer{Name: tx.name, XID: tx.xid})
			}
		}
		w.stage = hasListed
	case hasListed:
		w.read()
		w.stage = resting
		w.check()
	}
}

func (w *world) read() {
	from, late := w.marks.advance(w.mark, w.writers)
	w.next = min(w.next, from)
	after := w.next
	for _, l := range late {
		for _, tx := range w.txs {
			if tx.xid == l.XID && tx.visible {
				after = min(after, l.After)
			}
		}
	}
	w.next = w.mark.Last
	var fresh []*row
	for _, r := range w.rows {
		if r.seq > after && r.visible() && !w.taken[r.seq] {
			fresh = append(fresh, r)
		}
	}
	slices.SortFunc(fresh, func(a, b *row) int { return cmp.Compare(a.seq, b.seq) })
	for _, r := range fresh {
		// All rows have one key. Nothing goes before what its transaction had to come after.
		for _, earlier := range w.rows {
			if earlier.seq < r.seq && earlier.visible() && !w.taken[earlier.seq] {
				serialised := earlier.tx == r.tx || earlier.tx.free > 0 && earlier.tx.free < r.number
				require.False(w.t, serialised, "%d goes before %d", r.seq, earlier.seq)
			}
		}
		w.taken[r.seq] = true
	}
}

func (r *row) visible() bool { return r.tx.visible && !r.gone }

// check: whatever was free before the poll asked has been taken.
func (w *world) check() {
	for _, r := range w.rows {
		if r.visible() && r.tx.free > 0 && r.tx.free < w.asked {
			require.True(w.t, w.taken[r.seq], "%d of %s is missed", r.seq, r.tx.name)
		}
	}
}

// No interleaving of writers with the three statements of a poll makes the reader miss an event or give up an order it must keep.
func TestMarksMissNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, taken: map[int64]bool{}}
		step := func(f func(*rapid.T)) func(*rapid.T) {
			return func(t *rapid.T) {
				w.t = t
				w.now++
				f(t)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"begin": step(func(*rapid.T) { w.begin() }), "lock": step(w.lock), "take a number": step(w.takeNumber), "insert": step(w.insert),
			"roll back to": step(w.rollbackTo), "roll back": step(w.rollback), "prepare": step(w.prepare), "commit": step(w.commit),
			"release": step(w.release), "restart": step(w.restart),
			"poll": step(w.poll), "poll 2": step(w.poll), "poll 3": step(w.poll),
		})
	})
}

func TestMarksAreQuietOnlyWhenNothingCanHaveChanged(t *testing.T) {
	t.Parallel()
	var m marks
	at := func(last int64) store.Mark { return store.Mark{Last: last, Server: "a"} }
	require.False(t, m.quiet(at(0)), "before the first poll")
	m.advance(at(5), []store.Writer{{Name: "3/1"}})
	require.False(t, m.quiet(at(5)), "a writer is open")
	m.advance(at(5), nil)
	require.True(t, m.quiet(at(5)))
	require.False(t, m.quiet(at(6)))
	require.False(t, m.quiet(store.Mark{Last: 5, Server: "b"}))
	from, _ := m.advance(at(4), nil)
	require.Zero(t, from, "numbers that go back belong to another database")
}

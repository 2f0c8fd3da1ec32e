package forwarder

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"
	"pgregory.net/rapid"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/router"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// Time goes on in whole minutes, and what is compared with it is half a minute off: the clock of the database goes on while the test computes.
const (
	protocolTick   = time.Minute
	protocolLease  = 65*time.Minute + 30*time.Second
	protocolMargin = 15*time.Minute + 30*time.Second
	protocolRetry  = 12*time.Minute + 30*time.Second
	protocolSlack  = 29 * time.Second
)

// TestProtocolOfLeasesAndSettling drives forwarders, each a process of its own, through schedules in which any statement of theirs may be late, fail or
// take effect without an answer, publishes take any time, clocks are set and stop, and processes are paused, killed, closed and started.
// Whatever happens, only the owner of a slot starts a publish, and early enough; the order of keys is kept; what has ended is not opened
// again; nothing is sent while outcomes cannot be written; and when all is well again everything has arrived.
//
// More schedules: -run TestProtocol -rapid.checks=5000.
func TestProtocolOfLeasesAndSettling(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		template := filepath.Join(t.TempDir(), "template.db")
		db, err := sql.Open("sqlite", testdb.SQLiteDSN(template))
		require.NoError(t, err)
		testdb.Migrated(t, db)
		require.NoError(t, db.Close())
		empty, err := os.ReadFile(template)
		require.NoError(t, err)
		file := filepath.Join(t.TempDir(), "outbox.db")
		explore(t, 80, func(t *rapid.T) (driver.Connector, protocolSQL) {
			for _, end := range []string{"-wal", "-shm"} {
				if err := os.Remove(file + end); !errors.Is(err, os.ErrNotExist) {
					require.NoError(t, err)
				}
			}
			require.NoError(t, os.WriteFile(file, empty, 0o600))
			c, err := sqlite.NewConnector(testdb.SQLiteDSN(file) + "&_pragma=synchronous(OFF)")
			require.NoError(t, err)
			return c, protocolSQLite
		})
	})
	t.Run("postgres", func(t *testing.T) {
		dsn := testdb.PostgresDSN(t)
		db := testdb.Migrated(t, testdb.Open(t, dsn))
		explore(t, 12, func(t *rapid.T) (driver.Connector, protocolSQL) {
			_, err := db.Exec(`TRUNCATE outbox, outbox_pending, outbox_deliveries, outbox_forwarders, outbox_slots, outbox_controls RESTART IDENTITY`)
			require.NoError(t, err)
			c, err := stdlib.GetDefaultDriver().(driver.DriverContext).OpenConnector(dsn)
			require.NoError(t, err)
			return c, protocolPostgres
		})
	})
}

// explore checks the protocol on databases that open empties, by default in a number of schedules.
func explore(t *testing.T, schedules int, open func(*rapid.T) (driver.Connector, protocolSQL)) {
	if !checksGiven {
		if raceDetector() {
			schedules /= 6 // it takes ten times as long
		}
		defer set(t, "rapid.checks", strconv.Itoa(schedules))()
	}
	if flag.Lookup("rapid.steps").Value.String() == flag.Lookup("rapid.steps").DefValue {
		defer set(t, "rapid.steps", "60")()
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // Go 1.26's race detector dies when two threads run timers of one bubble
	rapid.Check(t, func(r *rapid.T) {
		c, statements := open(r)
		var failure any
		synctest.Test(t, func(*testing.T) {
			defer func() { failure = recover() }()
			protocol(r, c, statements)
		})
		if failure != nil && r.Failed() {
			panic(failure)
		}
		if failure != nil { // rapid tells a fault from a draw that came to nothing by where it panics
			panic(failure)
		}
	})
}

// set sets a flag, which no other test may read meanwhile.
func set(t *testing.T, name, value string) (reset func()) {
	before := flag.Lookup(name).Value.String()
	require.NoError(t, flag.Set(name, value))
	return func() { require.NoError(t, flag.Set(name, before)) }
}

func raceDetector() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// protocolWorld is a database, the forwarders on it, and everything that was published.
type protocolWorld struct {
	t         *rapid.T
	db        *sql.DB
	store     *store.Store
	connector driver.Connector
	routes    *router.Table
	sql       protocolSQL
	alone     bool // forwarders run without a Router
	members   []*member
	stored    *stored
	replayed  map[deliveryID]bool

	mu        sync.Mutex
	events    []*event
	begun     []*publishing
	publishes []*publishing
}

// protocolRoute is a static route; its topic is its name.
type protocolRoute struct {
	name    string
	targets []string
	once    map[string]bool // targets that get one attempt
	config  string
}

var protocolRoutes = []protocolRoute{
	{"patient", []string{"a"}, nil, `{"targets":[{"name":"a","destination":"sink://a","retry_policy":"patient"}]}`},
	{"two", []string{"a", "b"}, map[string]bool{"b": true},
		`{"targets":[{"name":"a","destination":"sink://a","retry_policy":"patient"},{"name":"b","destination":"sink://b","retry_policy":"none"}]}`},
	{"hold", []string{"a"}, map[string]bool{"a": true},
		`{"targets":[{"name":"a","destination":"sink://a","retry_policy":"none","on_dead":"hold_key"}]}`},
}

// protocolSQL is what the test asks databases.
type protocolSQL struct {
	everything, shiftLeases, shiftDue, insert string
}

var protocolSQLite = protocolSQL{
	everything: `SELECT 'pending', seq, '', 0, 0, 0.0 FROM outbox_pending
		UNION ALL SELECT state, seq, target, attempts, key_hash IS NOT NULL, 0.0 FROM outbox_deliveries
		UNION ALL SELECT 'slot', s.slot, '', s.epoch, s.owner IS NOT NULL, COALESCE((julianday(f.expires_at) - julianday('now')) * 86400.0, 0.0)
			FROM outbox_slots s LEFT JOIN outbox_forwarders f ON f.id = s.owner WHERE s.epoch > 0`,
	shiftLeases: `UPDATE outbox_forwarders SET expires_at = strftime('%Y-%m-%dT%H:%M:%f000Z', expires_at, printf('-%.3f seconds', ?1))`,
	shiftDue:    `UPDATE outbox_deliveries SET due = strftime('%Y-%m-%dT%H:%M:%f000Z', due, printf('-%.3f seconds', ?1))`,
	insert:      `INSERT INTO outbox (topic, payload, aggregate_type, aggregate_id) VALUES (?1, ?2, 'k', ?3) RETURNING seq, slot`,
}

var protocolPostgres = protocolSQL{
	everything: `SELECT 'pending', seq, '', 0, false, 0.0::float8 FROM outbox_pending
		UNION ALL SELECT state, seq, target, attempts, key_hash IS NOT NULL, 0.0 FROM outbox_deliveries
		UNION ALL SELECT 'slot', s.slot, '', s.epoch, s.owner IS NOT NULL, COALESCE(extract(epoch FROM f.expires_at - clock_timestamp()), 0)::float8
			FROM outbox_slots s LEFT JOIN outbox_forwarders f ON f.id = s.owner WHERE s.epoch > 0`,
	shiftLeases: `UPDATE outbox_forwarders SET expires_at = expires_at - make_interval(secs => $1::float8)`,
	shiftDue:    `UPDATE outbox_deliveries SET due = due - make_interval(secs => $1::float8)`,
	insert:      `INSERT INTO outbox (topic, payload, aggregate_type, aggregate_id) VALUES ($1, $2, 'k', $3) RETURNING seq, slot`,
}

func (w *protocolWorld) exec(query string, args ...any) {
	_, err := w.db.Exec(query, args...)
	require.NoError(w.t, err)
}

// pass lets the time go on, for the database too, whose clock goes on when all that it has noted moves back.
func (w *protocolWorld) pass(d time.Duration) {
	w.exec(w.sql.shiftLeases, d.Seconds())
	w.exec(w.sql.shiftDue, d.Seconds())
	<-time.After(d)
	synctest.Wait()
	w.check()
}

// insert commits an event.
func (w *protocolWorld) insert(route protocolRoute, key string) {
	e := &event{n: len(w.events), key: key, route: route, arrived: map[string]bool{}}
	w.mu.Lock()
	defer w.mu.Unlock()
	var aggregate any
	if key != "" {
		aggregate = key
	}
	require.NoError(w.t, w.db.QueryRow(w.sql.insert, route.name, strconv.Itoa(e.n), aggregate).Scan(&e.seq, &e.slot))
	w.events = append(w.events, e)
}

func (w *protocolWorld) alive() (list []*member) {
	for _, m := range w.members {
		if m.alive() {
			list = append(list, m)
		}
	}
	return list
}

func pick[T any](t *rapid.T, what string, list []T) T {
	if len(list) == 0 {
		t.Skip("no ", what)
	}
	return list[rapid.IntRange(0, len(list)-1).Draw(t, what)]
}

// often draws true in all but one of n cases.
func often(t *rapid.T, what string, n int) bool { return rapid.IntRange(1, n).Draw(t, what) < n }

func (w *protocolWorld) publish(t *rapid.T) {
	if len(w.events) > 15 {
		t.Skip("enough events")
	}
	route := pick(t, "route", protocolRoutes)
	key := pick(t, "key", []string{"x", "x", "y", ""})
	for range rapid.IntRange(1, 3).Draw(t, "events") {
		w.insert(route, key)
	}
	w.check()
}

// member picks a forwarder, and lets a minute go by when it has nothing to go on with.
func (w *protocolWorld) member(t *rapid.T) *member {
	m := pick(t, "member", w.alive())
	if len(m.waiting()) == 0 {
		w.pass(protocolTick)
	}
	return m
}

// call lets one loop of a forwarder go on for some statements, of which the last may fail.
func (w *protocolWorld) call(t *rapid.T) {
	m := w.member(t)
	c := pick(t, "loop", m.waiting())
	loop := c.loop
	for n := rapid.IntRange(1, 8).Draw(t, "statements"); n > 0 && c != nil; n-- {
		var err error
		if n == 1 && !often(t, "works", 4) {
			err = errCut
		}
		m.let(c, err)
		c = nil
		for _, next := range m.waiting() {
			if next.loop == loop {
				c = next
			}
		}
	}
}

// flow lets a forwarder go on until nothing of it waits but publishes.
func (w *protocolWorld) flow(t *rapid.T) {
	w.drain(w.member(t))
}

// drain lets statements of m go until none waits.
func (w *protocolWorld) drain(m *member) {
	for range 60 {
		list := m.waiting()
		if len(list) == 0 {
			return
		}
		m.let(list[0], nil)
	}
}

// work lets a forwarder go on as when all is well.
func (w *protocolWorld) work(t *rapid.T) {
	m := w.member(t)
	for range 4 {
		w.drain(m)
		for _, p := range w.inFlight() {
			if p.m == m {
				w.answer(p, nil)
				w.check()
			}
		}
	}
}

func (w *protocolWorld) reply(t *rapid.T) {
	w.conclude(t, pick(t, "publish", w.inFlight()))
}

// conclude ends a publish in any way.
func (w *protocolWorld) conclude(t *rapid.T, p *publishing) {
	switch rapid.IntRange(0, 5).Draw(t, "result") {
	case 0:
		w.answer(p, errNotToday)
	case 1:
		p.e.arrived[p.target] = true // and nobody knows
		w.answer(p, errNotToday)
	case 2:
		w.answer(p, middleware.Permanent(errNotToday))
	default:
		w.answer(p, nil)
	}
	w.check()
}

func (w *protocolWorld) tick(*rapid.T) { w.pass(protocolTick) }

func (w *protocolWorld) wait(t *rapid.T) {
	d := time.Duration(rapid.IntRange(1, 7).Draw(t, "tens of minutes")) * 10 * time.Minute
	w.pause(t, d)
}

// pause lets the time go on while machines may be suspended.
func (w *protocolWorld) pause(t *rapid.T, d time.Duration) {
	for _, m := range w.alive() {
		if !m.mayStep && rapid.Bool().Draw(t, "suspended") {
			w.mu.Lock()
			m.suspended += d
			w.mu.Unlock()
		}
	}
	w.pass(d)
}

// takeOver stops a forwarder while it publishes, for longer than its lease, and lets the others go on. It may wake up then, and what it and they have
// in flight ends; any of its loops may be the first to go on.
func (w *protocolWorld) takeOver(t *rapid.T) {
	stopped := pick(t, "publish", w.inFlight()).m
	if len(w.alive()) < 2 {
		t.Skip("nobody to take over")
	}
	w.pause(t, 70*time.Minute)
	for range 3 {
		for _, m := range w.alive() {
			if m != stopped {
				w.drain(m)
			}
		}
		w.pass(protocolTick)
	}
	if !stopped.alive() || !rapid.Bool().Draw(t, "wakes up") {
		return
	}
	first := pick(t, "loop", loops)
	for _, mine := range []bool{true, false} {
		for _, p := range w.inFlight() {
			if (p.m == stopped) == mine && rapid.Bool().Draw(t, "ends") {
				w.conclude(t, p)
			}
		}
		for range 10 {
			for _, c := range stopped.waiting() {
				if c.loop == first {
					stopped.let(c, nil)
				}
			}
		}
		w.drain(stopped)
	}
}

// cutOff lets a forwarder go on after some time in which it could not renew its lease, and still cannot. The answer to its last renewal was late.
func (w *protocolWorld) cutOff(t *rapid.T) {
	m := w.member(t)
	w.drain(m)
	w.pass(protocolTick)
	late := rapid.IntRange(0, 2).Draw(t, "tens of minutes")
	for _, c := range m.waiting() { // the renewal goes out
		if c.loop == "(*leases).loop" {
			m.let(c, nil)
		}
	}
	w.pass(time.Duration(late) * 10 * time.Minute)
	for _, c := range m.waiting() { // the answer comes in
		if c.loop == "(*leases).loop" {
			m.let(c, nil)
		}
	}
	w.pass(time.Duration(rapid.IntRange(1, 6).Draw(t, "tens of minutes")) * 10 * time.Minute)
	for range 60 {
		list := slices.DeleteFunc(m.waiting(), func(c *call) bool { return c.loop == "(*leases).loop" })
		if len(list) == 0 {
			break
		}
		m.let(list[0], nil)
	}
	for _, p := range w.inFlight() {
		if p.m == m {
			w.answer(p, nil)
			w.check()
		}
	}
}

func (w *protocolWorld) setClock(t *rapid.T) {
	var list []*member
	for _, m := range w.alive() {
		if m.mayStep {
			list = append(list, m)
		}
	}
	m := pick(t, "clock", list)
	w.mu.Lock()
	m.stepped += time.Duration(rapid.IntRange(-30, 30).Draw(t, "tens of minutes")) * 10 * time.Minute
	w.mu.Unlock()
}

func (w *protocolWorld) begin(t *rapid.T) {
	if len(w.alive()) >= 3 {
		t.Skip("enough forwarders")
	}
	w.start(rapid.Bool().Draw(t, "clock is stepped"))
	w.check()
}

func (w *protocolWorld) crash(t *rapid.T) {
	if rapid.IntRange(0, 4).Draw(t, "crash") > 0 {
		t.Skip("rare")
	}
	m := pick(t, "member", w.alive())
	m.crash(func(*publishing) bool { return rapid.Bool().Draw(t, "arrives") })
	w.check()
}

func (w *protocolWorld) close(t *rapid.T) {
	if rapid.IntRange(0, 4).Draw(t, "close") > 0 {
		t.Skip("rare")
	}
	var list []*member
	for _, m := range w.alive() {
		if !m.closing {
			list = append(list, m)
		}
	}
	pick(t, "member", list).stop()
	w.check()
}

func (w *protocolWorld) operate(t *rapid.T) {
	var dead []deliveryID
	for _, e := range w.events {
		for _, target := range e.route.targets {
			if id := (deliveryID{e.seq, target}); w.stored.deliveries[id].state == store.Dead {
				dead = append(dead, id)
			}
		}
	}
	id := pick(t, "dead letter", dead)
	if rapid.Bool().Draw(t, "replay") {
		w.replay(id)
		return
	}
	_, err := w.store.Discard(context.Background(), store.DeadFilter{Seqs: []int64{id.seq}, Target: id.target})
	require.NoError(t, err)
	w.check()
}

func (w *protocolWorld) replay(id deliveryID) {
	_, err := w.store.Replay(context.Background(), store.DeadFilter{Seqs: []int64{id.seq}, Target: id.target})
	require.NoError(w.t, err)
	w.replayed[id] = true
	w.check()
}

// heal lets everything work until nothing is left to do, and closes.
func (w *protocolWorld) heal() {
	for _, m := range w.alive() {
		if m.closing {
			w.finish(m)
		}
	}
	for round := 0; ; round++ {
		if len(w.alive()) == 0 { // or one could not start
			w.start(false)
		}
		require.Less(w.t, round, 200, "it does not come to an end: %+v", w.stored)
		for id, d := range w.stored.deliveries {
			if d.state == store.Dead && d.holds {
				w.replay(id)
			}
		}
		for _, m := range w.alive() {
			w.drive(m)
		}
		for _, p := range w.inFlight() {
			if !p.m.alive() { // it was closed without waiting for it
				w.answer(p, errNotToday)
			}
		}
		if w.idle() {
			break
		}
		w.pass(protocolTick)
		if round%10 == 9 {
			w.pass(10 * time.Minute)
		}
	}
	for _, m := range w.alive() {
		m.stop()
		w.finish(m)
		require.NoError(w.t, m.err)
	}
	w.check()
	w.final()
}

// idle tells whether nothing is left to do.
func (w *protocolWorld) idle() bool {
	for _, d := range w.stored.deliveries {
		if d.state == store.Waiting || d.state == store.Held {
			return false
		}
	}
	return len(w.stored.pending) == 0 && len(w.inFlight()) == 0
}

// drive lets all statements and publishes of m that wait now succeed.
func (w *protocolWorld) drive(m *member) {
	w.drain(m)
	for _, p := range w.inFlight() {
		if p.m == m {
			w.answer(p, nil)
			w.check()
		}
	}
}

// finish drives a forwarder that was closed until it has ended.
func (w *protocolWorld) finish(m *member) {
	for round := 0; m.alive(); round++ {
		require.Less(w.t, round, 100, "member %d does not end", m.number)
		w.drive(m)
		if m.alive() && len(m.waiting()) == 0 {
			w.pass(10 * time.Minute)
		}
	}
}

// end takes the world down, whatever state it is in.
func (w *protocolWorld) end() {
	w.publishes = append(w.publishes, w.collect()...)
	for _, m := range w.members {
		if m.f != nil {
			m.crash(func(*publishing) bool { return false })
			<-m.ended
		}
		_ = m.db.Close()
	}
	_ = w.db.Close()
}

// protocol runs one schedule of forwarders and of what happens to them.
func protocol(t *rapid.T, c driver.Connector, statements protocolSQL) {
	var list []router.Route
	for _, r := range protocolRoutes {
		list = append(list, router.Route{Topic: r.name, Config: r.config})
	}
	routes, err := router.NewTable(router.Config{
		Policies: map[string]middleware.RetryPolicy{"patient": {MaxAttempts: 1000, InitialInterval: protocolRetry, Multiplier: 1}},
		Routes:   router.Routes{Routes: list},
	})
	require.NoError(t, err)
	w := &protocolWorld{t: t, db: sql.OpenDB(c), connector: c, routes: routes, sql: statements, replayed: map[deliveryID]bool{}}
	defer w.end()
	w.store, err = store.Open(context.Background(), w.db, schema.Config{})
	require.NoError(t, err)
	w.stored, w.alone = w.load(), rapid.Bool().Draw(t, "alone")
	for range 2 {
		w.start(rapid.Bool().Draw(t, "clock is stepped"))
	}
	step := func(f func(*rapid.T)) func(*rapid.T) {
		return func(t *rapid.T) {
			w.t = t
			f(t)
		}
	}
	t.Repeat(map[string]func(*rapid.T){
		"publish": step(w.publish), "call": step(w.call), "call 2": step(w.call), "call 3": step(w.call), "flow": step(w.flow), "work": step(w.work),
		"reply": step(w.reply), "reply 2": step(w.reply), "tick": step(w.tick), "wait": step(w.wait), "take over": step(w.takeOver), "cut off": step(w.cutOff), "set a clock": step(w.setClock),
		"start": step(w.begin), "crash": step(w.crash), "close": step(w.close), "operate": step(w.operate),
	})
	w.heal()
}

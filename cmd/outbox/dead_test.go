package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/admin"
)

// shop is a destination that refuses orders for good until it is healed.
type shop struct {
	*httptest.Server
	mu     sync.Mutex
	healed bool
	got    []string // path and payload of what was accepted
}

func newShop(t *testing.T) *shop {
	s := &shop{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil || r.URL.Path == "/orders" && !s.healed {
			w.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		s.got = append(s.got, r.URL.Path+" "+string(body))
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *shop) heal() { s.set(true) }

func (s *shop) set(healed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.healed = healed
}

// take returns what was accepted since the last call.
func (s *shop) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.got
	s.got = nil
	return got
}

func (s *shop) run(t *testing.T, url string) {
	t.Helper()
	outbox("run", "--once", "--destination", "shop="+s.URL, "--log-level", "error", "--database-url", url).require(t, statusDone)
}

// burial is a database in which events 1 to 4 are dead and 5 waits for 4:
//
//	1 of tenant acme to two targets, of which search got it
//	2 of tenant acme, whose routing config is not valid
//	3 of tenant zoo, whose payload is no JSON
//	4 of tenant zoo, which holds its key, and 5, the next of the key
type burial struct {
	t    *testing.T
	shop *shop
	url  string
	db   *sql.DB
}

func bury(t *testing.T, url string, open func() *sql.DB) burial {
	t.Helper()
	outbox("migrate", "up", "--database-url", url).require(t, statusDone)
	b := burial{t: t, shop: newShop(t), url: url, db: open()}
	const orders = `{"targets":[{"destination":"shop://orders"}]}`
	for _, e := range []struct{ id, tenant, topic, payload, config, key string }{
		{"e1", "acme", "orders.placed", `{"id":1,"note":"<b>"}`, `{"targets":[{"destination":"shop://orders"},{"name":"search","destination":"shop://index"}]}`, "1"},
		{"e2", "acme", "orders.placed", `{"id":2}`, `{"targets":[{"destination":"shop://orders","retry_policy":"patient"}]}`, "2"},
		{"e3", "zoo", "orders.paid", "\x00\xff", orders, "3"},
		{"e4", "zoo", "orders.paid", `{"id":4}`, `{"targets":[{"destination":"shop://orders","on_dead":"hold_key"}]}`, "4"},
	} {
		b.insert(e.id, e.tenant, e.topic, e.payload, e.config, e.key)
	}
	b.shop.run(t, url)
	b.insert("e5", "zoo", "orders.paid", `{"id":5}`, orders, "4")
	b.shop.run(t, url)
	b.shop.take()
	return b
}

func (b burial) insert(id, tenant, topic, payload, config, key string) {
	b.t.Helper()
	column, value := "payload", any(payload)
	if !utf8.ValidString(payload) {
		column, value = "payload_bytes", []byte(payload)
	}
	_, err := b.db.ExecContext(b.t.Context(), `INSERT INTO outbox (id, tenant_id, topic, `+column+`, routing_config, event_metadata, aggregate_type, aggregate_id)
		VALUES ($1, $2, $3, $4, $5, '{"source":"web"}', 'order', $6)`, id, tenant, topic, value, config, key)
	require.NoError(b.t, err)
}

func (b burial) outbox(args ...string) result {
	return outbox(append(args, "--database-url", b.url)...)
}

// list returns the numbers of the dead.
func (b burial) list(args ...string) []int64 {
	b.t.Helper()
	seqs := []int64{}
	r := b.outbox(append([]string{"dead", "list", "--json"}, args...)...).require(b.t, statusDone)
	for line := range strings.Lines(r.stdout) {
		var d admin.DeadLetter
		require.NoError(b.t, json.Unmarshal([]byte(line), &d), line)
		seqs = append(seqs, d.Seq)
	}
	return seqs
}

func (b burial) statuses() (list []string) {
	b.t.Helper()
	rows, err := b.db.QueryContext(b.t.Context(), `SELECT status FROM outbox_events ORDER BY seq`)
	require.NoError(b.t, err)
	defer rows.Close()
	for rows.Next() {
		var status string
		require.NoError(b.t, rows.Scan(&status))
		list = append(list, status)
	}
	require.NoError(b.t, rows.Err())
	return list
}

func decode[T any](t *testing.T, r result) (v T) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(r.stdout))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&v), r.stdout)
	return v
}

func TestDeadList(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		b := bury(t, url, open)
		died := decode[admin.DeadLetter](t, b.outbox("dead", "list", "--seq", "3", "--json").require(t, statusDone)).DiedAt
		at := func(d time.Duration) string { return died.Add(d).Format(time.RFC3339Nano) }
		for name, test := range map[string]struct {
			args []string
			want []int64
		}{
			"all":              {nil, []int64{1, 2, 3, 4}},
			"seq":              {[]string{"--seq", "3", "--seq", "1", "--seq", "5"}, []int64{1, 3}},
			"tenant":           {[]string{"--tenant", "acme"}, []int64{1, 2}},
			"topic":            {[]string{"--topic", "orders.paid"}, []int64{3, 4}},
			"target":           {[]string{"--target", "(unrouted)"}, []int64{2}},
			"destination":      {[]string{"--destination", "shop://orders"}, []int64{1, 3, 4}},
			"error":            {[]string{"--error", "retry_policy"}, []int64{2}},
			"tenant and error": {[]string{"--tenant", "zoo", "--error", "retry_policy"}, []int64{}},
			"since":            {[]string{"--since", at(time.Minute)}, []int64{}},
			"since, ago":       {[]string{"--since", "1h"}, []int64{1, 2, 3, 4}},
			"until":            {[]string{"--until", at(-time.Minute)}, []int64{}},
			"until, ago":       {[]string{"--until", "1h"}, []int64{}},
			"since and until":  {[]string{"--since", at(-time.Minute), "--until", at(time.Minute)}, []int64{1, 2, 3, 4}},
			"limit":            {[]string{"--limit", "2"}, []int64{1, 2}},
		} {
			require.Equal(t, test.want, b.list(test.args...), name)
		}
		r := b.outbox("dead", "list", "--limit", "2").require(t, statusDone)
		require.Contains(t, r.stderr, "there are more than 2")
		require.Regexp(t, `(?m)^seq +target +destination +attempts +died +holds key +cause$`, r.stdout)
		require.Regexp(t, `(?m)^1 +shop://orders +shop://orders +1 +20\S+Z +no +\S`, r.stdout)
		require.Regexp(t, `(?m)^2 .*…$`, r.stdout, "the cause is shortened")
		require.Regexp(t, `(?m)^4 .* yes `, b.outbox("dead", "list", "--limit", "4").require(t, statusDone).stdout)
	})
}

func TestDeadShow(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		b := bury(t, url, open)
		first := decode[deadEvent](t, b.outbox("dead", "show", "--seq", "1", "--json").require(t, statusDone))
		require.Equal(t, `{"id":1,"note":"<b>"}`, string(first.Payload))
		require.Nil(t, first.PayloadBase64)
		require.JSONEq(t, `{"source":"web"}`, string(first.Metadata))
		require.Contains(t, string(first.RoutingConfig), `"name":"search"`)
		require.Equal(t, "order:1", first.Key)
		require.Len(t, first.Letters, 1, "search got it")
		require.Equal(t, "shop://orders", first.Letters[0].Target)
		require.Contains(t, first.Letters[0].Error, "422")

		third := b.outbox("dead", "show", "--seq", "3", "--json").require(t, statusDone)
		require.Contains(t, third.stdout, `"payload_base64":"AP8="`)
		require.NotContains(t, third.stdout, `"payload":`)

		text := b.outbox("dead", "show", "--seq", "2").require(t, statusDone).stdout
		for _, want := range []string{`tenant +acme`, `key +order:2`, `metadata +{"source":"web"}`, `payload +{"id":2}`, `routing config +{"targets":`,
			`cause +routing_config: .*unknown retry policy "patient"; known are`} {
			require.Regexp(t, "(?m)^"+want, text)
		}
		require.Regexp(t, `(?m)^payload +2 bytes that are not JSON, in base64: AP8=$`, b.outbox("dead", "show", "--seq", "3").require(t, statusDone).stdout)
		require.Regexp(t, `(?m)^holds key +yes`, b.outbox("dead", "show", "--seq", "4", "--target", "shop://orders").require(t, statusDone).stdout)

		for want, args := range map[string][]string{
			"event 5 is not dead":                            {"5"},
			"there is no event 99":                           {"99"},
			`event 1 has no dead letter for target "search"`: {"1", "--target", "search"},
		} {
			r := b.outbox(append([]string{"dead", "show", "--seq"}, args...)...).require(t, statusFailed)
			require.Equal(t, "outbox: "+want+"\n", r.stderr)
			require.Empty(t, r.stdout)
		}
	})
}

// Strings in a payload or a cause must not reach the terminal as commands.
func TestDeadShowEscapes(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, newDeadEvent(&admin.Event{Seq: 1, Payload: []byte("\"\u009b2J\"")}, []admin.DeadLetter{{Target: "t", Error: "one\x1b[2J\ntwo"}}).write(&out))
	require.NotContains(t, out.String(), "\x1b")
	require.NotContains(t, out.String(), "\u009b")
	require.Regexp(t, `(?m)^cause +one\\x1b\[2J\n +two$`, out.String())
}

func TestDeadReplay(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		b := bury(t, url, open)
		before := []string{"DEAD", "DEAD", "DEAD", "DEAD", "NEW"}
		require.Equal(t, before, b.statuses())

		// What is not dead, or not there, is an error, and then nothing is changed.
		r := b.outbox("dead", "replay", "--seq", "1", "--seq", "5", "--seq", "99").require(t, statusFailed)
		require.Equal(t, "outbox: event 5 is not dead; there is no event 99; nothing was changed\n", r.stderr)
		r = b.outbox("dead", "replay", "--seq", "1", "--tenant", "zoo").require(t, statusFailed)
		require.Contains(t, r.stderr, "event 1 has no dead letter that the other filters select")
		require.Equal(t, before, b.statuses())

		dry := b.outbox("dead", "replay", "--all", "--dry-run", "--json").require(t, statusFailed)
		would := decode[replayed](t, dry)
		require.True(t, would.DryRun)
		require.Equal(t, 3, would.Replayed)
		require.Len(t, would.Letters, 3)
		dry = b.outbox("dead", "replay", "--tenant", "zoo", "--dry-run").require(t, statusDone)
		require.Regexp(t, `(?s)^seq .*\n3 .*\n4 .*\nwould replay 2 dead letters\n$`, dry.stdout)
		require.Equal(t, before, b.statuses())

		b.shop.heal()
		r = b.outbox("dead", "replay", "--all", "--json").require(t, statusFailed)
		require.Equal(t, "outbox: 1 of 4 events cannot be routed and stays dead\n", r.stderr)
		did := decode[replayed](t, r)
		require.Equal(t, 3, did.Replayed)
		require.Len(t, did.Refused, 1)
		require.Equal(t, int64(2), did.Refused[0].Seq)
		require.Contains(t, did.Refused[0].Error, `/targets/0/retry_policy: unknown retry policy "patient"`)
		b.shop.run(t, url)
		require.Equal(t, []string{"SENT", "DEAD", "SENT", "SENT", "SENT"}, b.statuses())
		got := b.shop.take()
		require.ElementsMatch(t, []string{`/orders {"id":1,"note":"<b>"}`, "/orders \x00\xff", `/orders {"id":4}`, `/orders {"id":5}`}, got, "search does not get it twice")

		r = b.outbox("dead", "replay", "--seq", "2").require(t, statusFailed)
		require.Contains(t, r.stderr, "outbox: event 2: routing_config: invalid config: /targets/0/retry_policy: unknown")
		require.Equal(t, "replayed 0 dead letters\n", r.stdout)
		// It was never routed: a replay is its first pass, for a forwarder that has a policy of that name by now.
		b.outbox("dead", "replay", "--seq", "2", "--policy", "patient=3,1m,2,1h").require(t, statusDone)
		require.Empty(t, b.list())
	})
}

// An own policy that the forwarder had at the first attempt, and has again.
func TestDeadReplayKnowsPolicies(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		b := bury(t, url, open)
		_, err := b.db.ExecContext(t.Context(), `UPDATE outbox_deliveries SET target = 'shop://orders' WHERE seq = 2`)
		require.NoError(t, err)
		b.outbox("dead", "replay", "--seq", "2").require(t, statusFailed)
		r := b.outbox("dead", "replay", "--seq", "2", "--policy", "patient=3,1m,2,1h").require(t, statusDone)
		require.Equal(t, "replayed 1 dead letter\n", r.stdout)
	})
}

// What the file of run says is known to those who look before, and after.
func TestRoutingCommandsReadTheFileOfRun(t *testing.T) {
	t.Parallel()
	dir := files(t, "outbox.yaml", "policies: {patient: '3,1m,2,1h'}\ndestinations: {shop: console://}\nroutes: routes.yaml\n",
		"wrong.yaml", "policies: {patient: often}\ndestinations: [console://]\nbatch_size: many\n",
		"routes.yaml", "- topic: '*'\n  config: {targets: [{destination: shop://orders, retry_policy: patient}, {destination: shpo://a}]}\n",
		"good.yaml", "targets: [{destination: shop://orders, retry_policy: patient}, {destination: mail://a}]", "events", `{"topic":"a"}`)
	settings := []string{"--config", dir + "outbox.yaml"}

	require.Equal(t, dir+"routes.yaml: /0/config/targets/1/destination: unknown publisher \"shpo\", did you mean \"shop\"?\n",
		outbox(append(settings, "validate", dir+"routes.yaml")...).require(t, statusUsage).stdout)
	outbox(append(settings, "validate", "--publisher", "mail", dir+"good.yaml")...).require(t, statusDone)
	r := outbox(append(settings, "explain", "--events", dir+"events")...).require(t, statusUsage)
	require.Contains(t, r.stderr, dir+`routes.yaml: /0/config/targets/1/destination: unknown publisher "shpo"`)
	r = outbox(append(settings, "explain", "--events", dir+"events", "--publisher", "shpo", "--json")...).require(t, statusDone)
	require.Contains(t, r.stdout, `"destination":"shop://orders","decision":"deliver","reason":"matched","delay_seconds":0,"retry_policy":"patient"`)
	require.Contains(t, outbox("explain").require(t, statusUsage).stderr, "no routing: set --routing FILE")

	// Faults of what they read, and of nothing else.
	want := "outbox: DIRwrong.yaml:2: destinations: want names with values, as in kafka: kafka://localhost:9092\n" +
		"outbox: DIRwrong.yaml:1: policies patient: want ATTEMPTS,INITIAL,MULTIPLIER,MAX, such as 3,1m,2,1h\n"
	require.Equal(t, strings.ReplaceAll(want, "DIR", dir), outbox("--config", dir+"wrong.yaml", "validate", dir+"good.yaml").require(t, statusUsage).stderr)

	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		b := bury(t, url, open)
		_, err := b.db.ExecContext(t.Context(), `UPDATE outbox_deliveries SET target = 'shop://orders' WHERE seq = 2`)
		require.NoError(t, err)
		require.Contains(t, b.outbox("dead", "replay", "--seq", "2").require(t, statusFailed).stderr, "patient")
		b.outbox("dead", "replay", "--seq", "2", "--config", dir+"outbox.yaml").require(t, statusDone)
	})
}

// Destinations that the forwarder does not have are refused when the names of its publishers are given.
func TestDeadReplayKnowsPublishers(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		b := bury(t, url, open)
		_, err := b.db.ExecContext(t.Context(), `INSERT INTO outbox (topic, payload, routing_key) VALUES ('t', '{}', 'shpo://orders')`)
		require.NoError(t, err)
		b.shop.run(t, url)
		r := b.outbox("dead", "replay", "--seq", "3", "--seq", "6", "--publisher", "shop").require(t, statusFailed)
		require.Equal(t, "replayed 1 dead letter\n", r.stdout)
		require.Contains(t, r.stderr, `outbox: event 6: routing_key: invalid config: /targets/0/destination: unknown publisher "shpo", did you mean "shop"?`)
		require.Equal(t, []string{"DEAD", "DEAD", "NEW", "DEAD", "NEW", "DEAD"}, b.statuses())
	})
}

// More than one batch, and more than one target of an event.
func TestDeadReplayOfMany(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		outbox("migrate", "up", "--database-url", url).require(t, statusDone)
		b := burial{t: t, url: url, db: open()}
		const events = deadPage + 7
		for _, query := range []string{
			`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) INSERT INTO outbox (topic, payload) SELECT 't', '{}' FROM n`,
			`INSERT INTO outbox_deliveries (seq, target, slot, destination, state, attempts, error) SELECT seq, x.target, slot, 'd', 'dead', 5, 'down'
				FROM outbox CROSS JOIN (SELECT 'a' AS target UNION ALL SELECT 'b' UNION ALL SELECT 'c') x WHERE $1 > 0`,
			`DELETE FROM outbox_pending WHERE $1 > 0`,
		} {
			_, err := b.db.ExecContext(t.Context(), query, events)
			require.NoError(t, err)
		}
		require.Equal(t, 2*events, decode[replayed](t, b.outbox("dead", "replay", "--target", "a", "--json").require(t, statusDone)).Replayed+
			decode[discarded](t, b.outbox("dead", "discard", "--target", "b", "--yes", "--json").require(t, statusDone)).Discarded)
		require.Len(t, b.list("--limit", "10000"), events, "the third target is as it was")
		require.Equal(t, events, decode[replayed](t, b.outbox("dead", "replay", "--all", "--json").require(t, statusDone)).Replayed)
	})
}

func TestDeadDiscard(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		b := bury(t, url, open)
		before := b.statuses()
		r := b.outbox("dead", "discard", "--all").require(t, statusUsage)
		require.Contains(t, r.stderr, "set --yes")
		r = b.outbox("dead", "discard", "--seq", "4", "--seq", "5", "--yes").require(t, statusFailed)
		require.Equal(t, "outbox: event 5 is not dead; nothing was changed\n", r.stderr)
		r = b.outbox("dead", "discard", "--tenant", "acme", "--dry-run").require(t, statusDone)
		require.Regexp(t, `(?s)^seq .*\n1 .*\n2 .*\nwould discard 2 dead letters\n$`, r.stdout)
		dry := decode[discarded](t, b.outbox("dead", "discard", "--tenant", "acme", "--dry-run", "--json").require(t, statusDone))
		require.Equal(t, 2, dry.Discarded)
		require.Len(t, dry.Letters, 2)
		require.Equal(t, before, b.statuses())

		r = b.outbox("dead", "discard", "--seq", "4", "--yes").require(t, statusDone)
		require.Equal(t, "discarded 1 dead letter\n", r.stdout)
		b.shop.heal()
		b.shop.run(t, url)
		require.Equal(t, []string{`/orders {"id":5}`}, b.shop.take(), "its key goes on")
		require.Equal(t, discarded{Discarded: 2}, decode[discarded](t, b.outbox("dead", "discard", "--tenant", "acme", "--yes", "--json").require(t, statusDone)))
		require.Equal(t, []string{"SKIPPED", "SKIPPED", "DEAD", "SKIPPED", "SENT"}, b.statuses())
	})
}

func TestDeadDiscardAsksAtATerminal(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string, open func() *sql.DB) {
		b := bury(t, url, open)
		answer := func(text string) result {
			var stdout, stderr bytes.Buffer
			s := &session{stdin: strings.NewReader(text), stdout: &stdout, stderr: &stderr, isTerminal: func(io.Reader) bool { return true }}
			return result{s.run([]string{"dead", "discard", "--tenant", "acme", "--database-url", url}), stdout.String(), stderr.String()}
		}
		for _, text := range []string{"", "\n", "no\n", "y\n"} {
			r := answer(text).require(t, statusFailed)
			require.Contains(t, r.stderr, "Discard 2 dead letters in ")
			require.Contains(t, r.stderr, "nothing was changed")
			require.Len(t, b.list(), 4)
		}
		require.Equal(t, "discarded 2 dead letters\n", answer("yes\n").require(t, statusDone).stdout)
		require.Equal(t, []int64{3, 4}, b.list())
		require.Equal(t, "discarded 0 dead letters\n", answer("").require(t, statusDone).stdout, "nobody is asked about nothing")
	})
}

func TestDeadWrongUse(t *testing.T) {
	t.Parallel()
	database := "sqlite:" + filepath.Join(t.TempDir(), "outbox.db")
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"replay, which":       {[]string{"replay"}, "no dead letters selected: set --seq"},
		"discard, which":      {[]string{"discard", "--yes"}, "no dead letters selected: set --seq"},
		"all and a filter":    {[]string{"replay", "--all", "--topic", "t"}, "--all: there is a filter too"},
		"empty filter":        {[]string{"discard", "--yes", "--topic", "t", "--tenant", ""}, "--tenant: is empty"},
		"empty since":         {[]string{"replay", "--since", ""}, `--since: "" is neither a time`},
		"seq, text":           {[]string{"replay", "--seq", "1,x"}, `--seq: "x" is not the number of an event`},
		"seq, negative":       {[]string{"replay", "--seq=-1"}, `--seq: "-1" is not the number of an event`},
		"show, text":          {[]string{"show", "--seq", "x"}, `--seq: "x" is not the number of an event`},
		"show, nothing":       {[]string{"show"}, "missing flags: --seq=SEQ"},
		"since, negative":     {[]string{"list", "--since=-2h"}, "is neither a time"},
		"since after until":   {[]string{"list", "--since", "1h", "--until", "2h"}, "--since is not before --until"},
		"limit":               {[]string{"list", "--limit", "0"}, `--limit: "0" is not a whole number from 1`},
		"a faulty own policy": {[]string{"replay", "--all", "--policy", "x"}, "--policy: number 1: want NAME="},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := outbox(append(append([]string{"dead"}, c.args...), "--database-url", database)...).require(t, statusUsage)
			require.Contains(t, r.stderr, c.want)
			require.Empty(t, r.stdout)
		})
	}
}

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/router"
)

const shopRoutes = `
routing_version: "7"
routes:
  - topic: orders.*
    name: orders
    config:
      fallback: default.events
      targets:
        - {name: search, destination: kafka://search.index, conditions: {payload.visible: true}}
        - name: vip
          destination: redis://vip.notifications
          conditions: {payload.visible: true, payload.price: {$gt: 1000}}
          transform: {include_fields: [id, price]}
          retry_policy: aggressive
        - {destination: analytics.events, conditions: {payload.visible: true}, sampling_rate: 0}
        - {destination: mails, conditions: {payload.visible: true}, delay_seconds: 90}
`

// explain runs the command on events and returns its output, which is JSON, line by line.
func explainJSON(t *testing.T, status int, routing, events string, args ...string) []string {
	t.Helper()
	dir := files(t, "routing", routing)
	r := outboxWith(events, append([]string{"explain", "--json", "--routing", dir + "routing"}, args...)...).require(t, status)
	lines := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
	for _, line := range lines {
		require.True(t, json.Valid([]byte(line)), line)
	}
	return lines
}

func TestExplainJSON(t *testing.T) {
	t.Parallel()
	got := explainJSON(t, statusDone, shopRoutes,
		`{"id":"1","topic":"orders.placed","payload":{"id":1,"visible":true,"price":10}}`+"\n"+
			`{"id":"2","topic":"orders.placed","payload":{"visible":false}}`+"\n"+
			`{"id":"3","topic":"users"}`)
	require.Equal(t, []string{
		`{"id":"1","strategy":"best_effort","deliveries":[` +
			`{"target":"search","destination":"kafka://search.index","decision":"deliver","reason":"matched","delay_seconds":0,"retry_policy":"default","payload":{"id":1,"visible":true,"price":10}},` +
			`{"target":"vip","destination":"redis://vip.notifications","decision":"skip","reason":"condition","condition":"payload.price: {\"$gt\":1000}","delay_seconds":0,"retry_policy":"aggressive","payload":null},` +
			`{"target":"analytics.events","destination":"analytics.events","decision":"skip","reason":"sampling","delay_seconds":0,"retry_policy":"default","payload":null},` +
			`{"target":"mails","destination":"mails","decision":"deliver","reason":"matched","delay_seconds":90,"retry_policy":"default","payload":{"id":1,"visible":true,"price":10}}` +
			`],"route":"orders","routing_version":"7","error":""}`,
		`{"id":"2","strategy":"best_effort","deliveries":[` +
			`{"target":"search","destination":"kafka://search.index","decision":"skip","reason":"condition","condition":"payload.visible: {\"$eq\":true}","delay_seconds":0,"retry_policy":"default","payload":null},` +
			`{"target":"vip","destination":"redis://vip.notifications","decision":"skip","reason":"condition","condition":"payload.visible: {\"$eq\":true}","delay_seconds":0,"retry_policy":"aggressive","payload":null},` +
			`{"target":"analytics.events","destination":"analytics.events","decision":"skip","reason":"condition","condition":"payload.visible: {\"$eq\":true}","delay_seconds":0,"retry_policy":"default","payload":null},` +
			`{"target":"mails","destination":"mails","decision":"skip","reason":"condition","condition":"payload.visible: {\"$eq\":true}","delay_seconds":90,"retry_policy":"default","payload":null},` +
			`{"target":"default.events","destination":"default.events","decision":"deliver","reason":"fallback","delay_seconds":0,"retry_policy":"default","payload":{"visible":false}}` +
			`],"route":"orders","routing_version":"7","error":""}`,
		`{"id":"3","strategy":"best_effort","deliveries":[{"target":"users","destination":"users","decision":"deliver","reason":"matched","delay_seconds":0,"retry_policy":"default","payload":null}],"error":""}`,
	}, got)
}

func TestExplainTable(t *testing.T) {
	t.Parallel()
	dir := files(t, "routes.yaml", shopRoutes, "events.jsonl",
		`{"id":"1","topic":"orders.placed","payload":{"visible":true,"price":10}}`+"\n"+
			`{"topic":"other\u001b[2J","payload":"`+strings.Repeat("ä", 100)+`"}`+"\n")
	r := outbox("explain", "--routing", dir+"routes.yaml", "--events", dir+"events.jsonl").require(t, statusDone)
	require.Empty(t, r.stderr)
	require.Equal(t, `1 on orders.placed: best_effort, route orders of version 7
  decision  target            destination                reason                                 delay  retry_policy  payload
  deliver   search            kafka://search.index       matched                                -      default       {"visible":true,"price":10}
  skip      vip               redis://vip.notifications  condition payload.price: {"$gt":1000}  -      -
  skip      analytics.events  analytics.events           sampling                               -      -
  deliver   mails             mails                      matched                                1m30s  default       {"visible":true,"price":10}

(no id) on other\x1b[2J: best_effort
  decision  target        destination   reason   delay  retry_policy  payload
  deliver   other\x1b[2J  other\x1b[2J  matched  -      default       "`+strings.Repeat("ä", 58)+"…\n", r.stdout)
}

// A payload is kept as it is spelled: numbers, escapes, white space, duplicate keys, whatever kind of value it is.
func TestExplainKeepsPayloads(t *testing.T) {
	t.Parallel()
	for _, payload := range []string{
		`{"N": 1.50,"big":9007199254740993, "e":1e400,"t":"<&>\u003c \u2028","a":1,"a":2}`, `[ 1 ]`, `"text"`, `12.0`, `true`, `null`, "\"\u2028\"",
	} {
		got := explainJSON(t, statusDone, `{"targets":[{"destination":"a"}]}`, `{"id":"1","payload": `+payload+` }`)
		require.Contains(t, got[0], `"payload":`+payload+`}],"route":"**","error":""}`)
	}
	got := explainJSON(t, statusDone, `{"targets":[{"destination":"<a>","conditions":{"payload":"<&>"}}]}`, `{"id":"<1>"}`)
	require.Contains(t, got[0], `{"id":"<1>",`)
	require.Contains(t, got[0], `"destination":"<a>","decision":"skip","reason":"condition","condition":"payload: {\"$eq\":\"<&>\"}"`)
	// A value of the config may have line breaks.
	got = explainJSON(t, statusDone, "{\"targets\":[{\"destination\":\"a\",\"transform\":{\"add_fields\":{\"b\":{\n\"c\": 1}}}}]}", `{"payload":{"a": 1}}`)
	require.Contains(t, got[0], `"payload":{"a":1,"b":{"c":1}}}`)
}

// Every attribute of a line is what conditions see.
func TestExplainAttributes(t *testing.T) {
	t.Parallel()
	const line = `{"id":"1","topic":"t","tenant_id":"acme","aggregate_type":"order","aggregate_id":17,"occurred_at":"2025-01-31T12:00:00+01:00",
		"created_at":"2025-01-31","schema_id":"s","schema_version":2,"payload":{},"metadata":{"source":"shop"},"routing_key":null,"routing_config":null}`
	for _, condition := range []string{
		`"id":"1"`, `"topic":"t"`, `"tenant_id":"acme"`, `"aggregate_type":"order"`, `"aggregate_id":"17"`, `"occurred_at":"2025-01-31T11:00:00Z"`,
		`"schema_id":"s"`, `"schema_version":2`, `"schema_version":"2"`, `"payload":{}`, `"metadata.source":"shop"`,
	} {
		got := explainJSON(t, statusDone, `{"targets":[{"destination":"a","conditions":{`+condition+`}}]}`, strings.ReplaceAll(line, "\n\t\t", ""))
		require.Contains(t, got[0], `"reason":"matched"`, condition)
	}
}

func TestExplainResolution(t *testing.T) {
	t.Parallel()
	const static = `[{"topic":"orders.*","config":{"targets":[{"destination":"static"}]}}]`
	for name, c := range map[string]struct{ line, destination string }{
		"config first":          {`{"topic":"orders.a","routing_key":"key","routing_config":{"targets":[{"destination":"own"}]}}`, "own"},
		"config as text":        {`{"topic":"orders.a","routing_config":"{\"targets\":[{\"destination\":\"own\"}]}"}`, "own"},
		"then the routing key":  {`{"topic":"orders.a","routing_key":"key"}`, "key"},
		"then the static route": {`{"topic":"orders.a"}`, "static"},
		"then the topic":        {`{"topic":"users"}`, "users"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, explainJSON(t, statusDone, static, c.line)[0], fmt.Sprintf(`"destination":%q`, c.destination))
		})
	}
}

// A bad line is named, and the others are explained.
func TestExplainBadLines(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ line, fault string }{
		"unknown key":         {`{"id":"1","topc":"a"}`, `unknown key "topc", did you mean "topic"?`},
		"key like no other":   {`{"colour":1}`, `unknown key "colour"; known are id, topic, tenant_id, `},
		"all faults":          {`{"topc":1,"paylod":1}`, `unknown key "topc", did you mean "topic"?; unknown key "paylod", did you mean "payload"?`},
		"key twice":           {`{"topic":"a","topic":"b"}`, `key "topic" is given twice`},
		"no JSON":             {`{"id":`, `is not JSON at byte 6: `},
		"two values":          {`{"id":"1"} {"id":"2"}`, `is not JSON at byte 12: `},
		"no object":           {`["id"]`, `is not a JSON object`},
		"wrong type":          {`{"topic":{"a":1}}`, `topic must be a string, not an object`},
		"no time":             {`{"occurred_at":"yesterday"}`, `occurred_at is not a time, such as "2025-01-31T12:00:00Z"`},
		"time is a number":    {`{"created_at":1735689600}`, `created_at must be a string, not a number`},
		"metadata":            {`{"metadata":["a"]}`, `metadata must be an object, not an array`},
		"value of metadata":   {`{"metadata":{"a":1}}`, `metadata: the value of "a" must be a string, not a number`},
		"bad config":          {`{"routing_config":{"targets":[{}]}}`, `routing_config: invalid config: /targets/0: has no "destination"`},
		"when not allowed":    {`{"routing_config":{"targets":[{"destination":"a","when":"true"}]}}`, `routing_config: invalid config: /targets/0/when: is not allowed`},
		"nowhere":             {`{"payload":1}`, `has no topic, and no route or routing_key says where it goes`},
		"transform of a text": {`{"topic":"changed","payload":"text"}`, `target "a": a transform needs an object or an array, payload is a string`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const static = `[{"topic":"changed","config":{"targets":[{"destination":"a","transform":{"include_fields":["a"]}}]}}]`
			lines := "\ufeff{\"topic\":\"first\"}\r\n\r\n" + c.line + "\n" + `{"topic":"last"}`
			got := explainJSON(t, statusFailed, static, lines)
			require.Len(t, got, 3)
			require.Contains(t, got[0], `"destination":"first"`)
			require.Contains(t, got[2], `"destination":"last"`)
			var x struct{ Error string }
			require.NoError(t, json.Unmarshal([]byte(got[1]), &x))
			require.True(t, strings.HasPrefix(x.Error, "line 3: "+c.fault), x.Error)

			r := outboxWith(lines, "explain", "--routing", files(t, "r", static)+"r").require(t, statusFailed)
			require.Contains(t, r.stdout, "first")
			require.Contains(t, r.stdout, "last")
			errs := strings.Split(r.stderr, "\n")
			require.Equal(t, "outbox: "+x.Error, errs[0])
			require.Equal(t, []string{"outbox: 1 of 3 events cannot be routed", ""}, errs[1:])
		})
	}
}

func TestExplainFlags(t *testing.T) {
	t.Parallel()
	const config = `{"targets":[{"destination":"a"}]}`
	own := `{"routing_config":{"targets":[{"destination":"kafka://a","when":"true","retry_policy":"slow"}]}}`
	got := explainJSON(t, statusDone, config, own, "--allow-when", "--publisher", "kafka", "--policy", "slow=3,1m,2,1h")
	require.Contains(t, got[0], `"retry_policy":"slow"`)
	got = explainJSON(t, statusFailed, config, `{"routing_key":"kafak://a"}`, "--publisher", "kafka")
	require.Contains(t, got[0], `"error":"line 1: unknown publisher \"kafak\"; known are kafka"`)

	dir := files(t, "bad.json", `{"targets":[{"destination":"a","retry_policy":"slow"},{}]}`, "good.json", config)
	r := outbox("explain", "--routing", dir+"bad.json", "--events", dir+"none").require(t, statusUsage)
	require.Equal(t, strings.ReplaceAll(`outbox: --routing DIRbad.json: /targets/1: has no "destination"
outbox: --routing DIRbad.json: /targets/0/retry_policy: unknown retry policy "slow"; known are aggressive, default, exponential, none
outbox: --events DIRnone: cannot be read: no such file or directory
`, "DIR", dir), r.stderr)
	require.Contains(t, outbox("explain", "--routing", dir+"none").require(t, statusUsage).stderr, "none: cannot be read: no such file or directory")
	require.Contains(t, outbox("explain", "--routing", "-").require(t, statusUsage).stderr, "cannot both be the standard input")
	require.Contains(t, outbox("explain", "--routing", dir+"good.json", "--events", dir).require(t, statusFailed).stderr, "events: read ")
	require.Contains(t, outboxWith(config, "explain", "--routing", "-", "--events", dir+"good.json").require(t, statusFailed).stderr, `line 1: unknown key "targets"`)
	require.Equal(t, result{}, outbox("explain", "--routing", dir+"good.json"))
}

func TestExplainLongLines(t *testing.T) {
	t.Parallel()
	megabyte := `{"id":"1","payload":{"text":"` + strings.Repeat("x", 1<<20) + `"}}`
	tooLong := `{"id":"2","payload":"` + strings.Repeat("x", maxEventLine) + `"}`
	got := explainJSON(t, statusFailed, `{"targets":[{"destination":"a"}]}`, megabyte+"\n"+tooLong+"\n"+`{"id":"3"}`+"\n"+tooLong)
	require.Len(t, got, 4)
	require.Greater(t, len(got[0]), 1<<20)
	require.Contains(t, got[1], `"error":"line 2: is longer than 33554432 bytes"`)
	require.Contains(t, got[2], `"id":"3"`)
	require.Contains(t, got[3], `"error":"line 4: is longer than`)
}

// Whoever reads the output through a pipe gets a line as soon as its event was there.
func TestExplainWritesLineByLine(t *testing.T) {
	t.Parallel()
	in, events := io.Pipe()
	out, stdout := io.Pipe()
	status := make(chan int)
	dir := files(t, "r", `{"targets":[{"destination":"a"}]}`)
	go func() {
		status <- run([]string{"explain", "--json", "--routing", dir + "r"}, in, stdout, io.Discard)
		_ = stdout.Close()
	}()
	lines := bufio.NewReader(out)
	for _, id := range []string{"1", "2", "3"} {
		_, err := fmt.Fprintf(events, "{\"id\":%q}\n", id)
		require.NoError(t, err)
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		require.Contains(t, line, `{"id":"`+id+`"`)
	}
	require.NoError(t, events.Close())
	require.Equal(t, statusDone, <-status)
	_, err := lines.ReadByte()
	require.ErrorIs(t, err, io.EOF)
}

// BenchmarkExplain explains events of 300 bytes by the routes of a shop.
func BenchmarkExplain(b *testing.B) {
	table := (&explainCommand{Routing: "-"}).table(&session{stdin: strings.NewReader(shopRoutes)}, router.Config{})
	require.NotNil(b, table)
	line := `{"id":"0b1e2d3c","topic":"orders.placed","tenant_id":"acme","metadata":{"source":"shop"},"payload":{"id":7,"visible":true,"price":1249.90,"note":"` +
		strings.Repeat("x", 140) + `"}}` + "\n"
	for _, asJSON := range []bool{true, false} {
		b.Run(fmt.Sprintf("json=%v", asJSON), func(b *testing.B) {
			var out bytes.Buffer
			x := explainer{session: &session{stdout: &out, stderr: io.Discard}, table: table, json: asJSON}
			b.ReportAllocs()
			for b.Loop() {
				out.Reset()
				if err := x.explainAll(strings.NewReader(line)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

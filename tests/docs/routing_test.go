package docs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/bento-outbox/watermill-outbox/internal/rules/mongotest"
	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/router"
)

const routingPage = root + "/docs/routing.md"

// table is a Markdown table: its header and its rows, without marks of code.
type table struct {
	header string
	rows   [][]string
}

var cell = regexp.MustCompile(`(?:[^|\\]|\\.)+`)

func tables(t *testing.T, page string) []table {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	var all []table
	inTable, inCode := false, false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "```") {
			inCode = !inCode
		}
		if inCode || !strings.HasPrefix(line, "|") {
			inTable = false
			continue
		}
		if strings.HasPrefix(line, "|---") {
			continue
		}
		var cells []string
		for _, text := range cell.FindAllString(line, -1) {
			cells = append(cells, strings.ReplaceAll(strings.TrimSpace(strings.Trim(strings.TrimSpace(text), "`")), `\|`, "|"))
		}
		if !inTable {
			inTable = true
			all = append(all, table{header: strings.Join(cells, "|")})
			continue
		}
		last := &all[len(all)-1]
		last.rows = append(last.rows, cells)
	}
	return all
}

// Every row of every table says what the router does.
func TestRoutingTables(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for _, tb := range tables(t, routingPage) {
		check := checks[tb.header]
		require.NotNil(t, check, "no check for the table %q", tb.header)
		for _, row := range tb.rows {
			seen[tb.header]++
			t.Run(strings.Join(row, " "), func(t *testing.T) {
				require.Len(t, row, strings.Count(tb.header, "|")+1)
				check(t, row)
			})
		}
	}
	for header := range checks {
		require.NotZero(t, seen[header], "no table %q", header)
	}
}

var checks = map[string]func(t *testing.T, row []string){
	"condition|payload|matches": func(t *testing.T, row []string) {
		requireMatch(t, fmt.Sprintf(`{"conditions":%s,"destination":"a"}`, row[0]), &router.Event{Payload: []byte(row[1])}, row)
	},
	"condition|payload|matches|rule": func(t *testing.T, row []string) {
		requireMatch(t, fmt.Sprintf(`{"conditions":%s,"destination":"a"}`, row[0]), &router.Event{Payload: []byte(row[1])}, row)
	},
	"condition|event|matches": func(t *testing.T, row []string) {
		requireMatch(t, fmt.Sprintf(`{"conditions":%s,"destination":"a"}`, row[0]), event(t, row[1]), row)
	},
	"when|payload|matches": func(t *testing.T, row []string) {
		when, err := json.Marshal(row[0])
		require.NoError(t, err)
		requireMatch(t, fmt.Sprintf(`{"when":%s,"destination":"a"}`, when), &router.Event{Topic: "orders.placed", Payload: []byte(row[1])}, row)
	},
	"condition|fault": func(t *testing.T, row []string) {
		_, err := middleware.Match(middleware.MatchConfig{Conditions: row[0]})
		requireFault(t, err, row)
	},
	"config|fault": func(t *testing.T, row []string) {
		table, err := router.NewTable(router.Config{})
		require.NoError(t, err)
		requireFault(t, table.Validate([]byte(row[0])), row)
	},
	"config|event|deliveries": func(t *testing.T, row []string) {
		e := event(t, row[1])
		e.RoutingConfig = row[0]
		var got []string
		for _, d := range explain(t, e).Deliveries {
			require.Equal(t, d.Reason == router.Matched || d.Reason == router.Fallback, d.Decision == "deliver")
			text := fmt.Sprintf("%s: %s", d.Destination, d.Reason)
			if d.DelaySeconds > 0 {
				text += " after " + time.Duration(d.DelaySeconds*float64(time.Second)).String()
			}
			got = append(got, text)
		}
		require.Equal(t, row[2], strings.Join(got, ", "), "%q", row)
	},
	"event|goes to": func(t *testing.T, row []string) {
		table, err := router.NewTable(router.Config{Routes: router.Routes{Routes: []router.Route{
			{Topic: "orders.*", Config: `{"targets":[{"destination":"kafka://orders"}]}`},
		}}})
		require.NoError(t, err)
		x := router.Explain(table, event(t, row[0]), nil)
		require.Len(t, x.Deliveries, 1, x.Error)
		require.Equal(t, row[1], x.Deliveries[0].Destination)
	},
	"transform|payload|result": func(t *testing.T, row []string) {
		x := explain(t, &router.Event{RoutingConfig: fmt.Sprintf(`{"targets":[{"destination":"a","transform":%s}]}`, row[0]), Payload: []byte(row[1])})
		require.Empty(t, x.Error)
		require.Equal(t, row[2], string(x.Deliveries[0].Bytes), "%q", row)
	},
	"transform|payload|fault": func(t *testing.T, row []string) {
		x := explain(t, &router.Event{RoutingConfig: fmt.Sprintf(`{"targets":[{"destination":"a","transform":%s}]}`, row[0]), Payload: []byte(row[1])})
		require.Equal(t, `target "a": `+row[2], x.Error)
		require.Equal(t, "skip", x.Deliveries[0].Decision)
	},
	"topic pattern|topic|matches": func(t *testing.T, row []string) {
		table, err := router.NewTable(router.Config{Routes: router.Routes{Routes: []router.Route{{Topic: row[0], Config: `{"targets":[{"destination":"routed"}]}`}}}})
		require.NoError(t, err)
		plan, err := table.Resolve(&router.Event{Topic: row[1]})
		require.NoError(t, err)
		require.Equal(t, row[2] == "yes", plan.Targets[0].Destination == "routed", "%q", row)
	},
	"policy|attempts|initial wait|multiplier|longest wait|jitter": func(t *testing.T, row []string) {
		p, known := middleware.Policies()[row[0]]
		require.True(t, known, "%q", row)
		want := []string{row[0], fmt.Sprint(p.MaxAttempts), p.InitialInterval.String(), fmt.Sprint(p.Multiplier), p.MaxInterval.String(), fmt.Sprintf("%v %%", 100*p.Jitter)}
		if p.MaxAttempts == 1 {
			want = []string{row[0], "1", "", "", "", ""}
		}
		require.Equal(t, want, row)
	},
	"limit|value":                     requireLimit,
	"costs|work":                      func(*testing.T, []string) {}, // constants of package middleware
	"key|meaning|default":             func(*testing.T, []string) {}, // see TestRoutingPageIsComplete
	"key of a target|meaning|default": func(*testing.T, []string) {},
}

func explain(t *testing.T, e *router.Event) router.Explanation {
	t.Helper()
	table, err := router.NewTable(router.Config{AllowExprPerEvent: true})
	require.NoError(t, err)
	return router.Explain(table, e, nil)
}

func requireMatch(t *testing.T, target string, e *router.Event, row []string) {
	t.Helper()
	e.RoutingConfig = `{"targets":[` + target + `]}`
	x := explain(t, e)
	got := "no"
	switch {
	case x.Error != "":
		got = "fault"
		require.Len(t, x.Deliveries, 1, "%q: %s", row, x.Error)
	case x.Deliveries[0].Decision == "deliver":
		got = "yes"
	}
	require.Equal(t, row[2], got, "%q: %s", row, x.Error)
}

func requireFault(t *testing.T, err error, row []string) {
	t.Helper()
	var invalid *router.InvalidConfigError
	require.ErrorAs(t, err, &invalid, "%q", row)
	require.Equal(t, row[1], strings.TrimSpace(invalid.Faults[0].String()), "%q", row)
}

func event(t *testing.T, text string) *router.Event {
	t.Helper()
	var e struct {
		ID, Topic     string
		TenantID      string    `json:"tenant_id"`
		AggregateType string    `json:"aggregate_type"`
		AggregateID   string    `json:"aggregate_id"`
		OccurredAt    time.Time `json:"occurred_at"`
		SchemaID      string    `json:"schema_id"`
		SchemaVersion string    `json:"schema_version"`
		Payload       json.RawMessage
		Metadata      message.Metadata
		RoutingKey    string          `json:"routing_key"`
		RoutingConfig json.RawMessage `json:"routing_config"`
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&e), text)
	return &router.Event{
		ID: e.ID, Topic: e.Topic, TenantID: e.TenantID, AggregateType: e.AggregateType, AggregateID: e.AggregateID, OccurredAt: e.OccurredAt,
		SchemaID: e.SchemaID, SchemaVersion: e.SchemaVersion, Payload: e.Payload, Metadata: e.Metadata,
		RoutingKey: e.RoutingKey, RoutingConfig: string(e.RoutingConfig),
	}
}

// The page names all there is: keys, operators, options, policies, and the differences between implementations.
func TestRoutingPageIsComplete(t *testing.T) {
	t.Parallel()
	all := tables(t, routingPage)
	column := func(header string, n int) (cells []string) {
		for _, tb := range all {
			if tb.header == header {
				for _, row := range tb.rows {
					cells = append(cells, row[n])
				}
			}
		}
		return cells
	}
	known := func(err error) []string { // that an error about an unknown name lists
		_, list, found := strings.Cut(err.Error(), "known are ")
		require.True(t, found, err)
		list, _, _ = strings.Cut(list, ";")
		return strings.Split(list, ", ")
	}
	_, err := router.ParseConfig([]byte(`{"targets":[],"qqqqqqqqqq":1}`))
	require.ElementsMatch(t, known(err), column("key|meaning|default", 0))
	_, err = router.ParseConfig([]byte(`{"targets":[{"destination":"a","qqqqqqqqqq":1}]}`))
	require.ElementsMatch(t, known(err), column("key of a target|meaning|default", 0))
	require.ElementsMatch(t, []string{"default", "exponential", "aggressive", "none"}, column("policy|attempts|initial wait|multiplier|longest wait|jitter", 0))
	require.Len(t, middleware.Policies(), 4)

	conditions := strings.Join(column("condition|payload|matches", 0), "\n")
	_, err = middleware.Match(middleware.MatchConfig{Conditions: `{"payload.a":{"$qqqqqqqqqq":1}}`})
	operators := known(err)
	require.Contains(t, operators, "$eq")
	for _, operator := range operators {
		require.Contains(t, conditions, `"`+operator+`"`)
	}
	_, err = router.ParseConfig([]byte(`{"targets":[{"destination":"a","transform":{"qqqqqqqqqq":1}}]}`))
	for _, step := range known(err) {
		require.Contains(t, strings.Join(column("transform|payload|result", 0), "\n"), `"`+step+`"`)
	}

	var rules, differences []string
	for _, tb := range all {
		if tb.header == "condition|payload|matches|rule" {
			for _, row := range tb.rows {
				rules = append(rules, strings.Join(row, " "))
			}
		}
	}
	for _, d := range mongotest.Differences {
		ours := map[bool]string{true: "yes", false: "no"}[d.Ours]
		differences = append(differences, strings.Join([]string{d.Query, d.Doc, ours, d.Name}, " "))
	}
	require.Equal(t, differences, rules)
}

// requireLimit makes a config that is at the limit, and one that is beyond it.
func requireLimit(t *testing.T, row []string) {
	n := 0
	for _, digit := range strings.ReplaceAll(row[1], ",", "") {
		n = 10*n + int(digit-'0')
	}
	try := limits[limitName(row[0])]
	require.NotNil(t, try, "no check for the limit %q", row[0])
	require.NoError(t, try(n), "%q", row)
	var invalid *router.InvalidConfigError
	err := try(n + 1)
	require.ErrorAs(t, err, &invalid, "%q", row)
	require.Regexp(t, `longer|more than|too long|nested|must be between`, err.Error(), "%q", row)
}

func limitName(cell string) string {
	return strings.ReplaceAll(strings.TrimSuffix(cell, " *"), "`", "")
}

var limits = map[string]func(n int) error{
	"bytes of a config": func(n int) error {
		const text = `{"targets":[{"destination":"a"}]}`
		return validate(text + strings.Repeat(" ", n-len(text)))
	},
	"targets of a config": func(n int) error {
		var targets []string
		for i := range n {
			targets = append(targets, fmt.Sprintf(`{"destination":"%d"}`, i))
		}
		return validate(`{"targets":[` + strings.Join(targets, ",") + `]}`)
	},
	"JSON values of a config": func(n int) error {
		const targets = 10
		var all []string
		values := n - 2 - 5*targets // a target has 5 values beside the elements of its list
		for i := range targets {
			share := values / targets
			if i == 0 {
				share += values % targets
			}
			all = append(all, fmt.Sprintf(`{"destination":"%d","conditions":{"payload.a":{"$in":%s}}}`, i, zeros(share)))
		}
		return validate(`{"targets":[` + strings.Join(all, ",") + `]}`)
	},
	"bytes of a destination":   func(n int) error { return target(`"destination":"` + strings.Repeat("a", n) + `"`) },
	"bytes of a target's name": func(n int) error { return target(`"destination":"a","name":"` + strings.Repeat("a", n) + `"`) },
	"days of a delay":          func(n int) error { return target(fmt.Sprintf(`"destination":"a","delay_seconds":%d`, n*24*60*60)) },
	"JSON values of the conditions of a target": func(n int) error {
		return conditions(`{"payload.a":{"$in":` + zeros(n-3) + `}}`)
	},
	"levels of nested conditions": func(n int) error {
		return conditions(strings.Repeat(`{"$and":[`, n-1) + `{"payload.a":1}` + strings.Repeat(`]}`, n-1))
	},
	"bytes of a path":   func(n int) error { return conditions(`{"payload.` + strings.Repeat("a", n-len("payload.")) + `":1}`) },
	"bytes of a $regex": func(n int) error { return conditions(`{"payload.a":{"$regex":"` + strings.Repeat("a", n) + `"}}`) },
	"RE2 instructions of a $regex": func(n int) error {
		n -= 2 // the first and the last
		return conditions(fmt.Sprintf(`{"payload.a":{"$regex":"a{%d}b{%d}"}}`, n/2, n-n/2))
	},
	"bytes of a when": func(n int) error { return when(`topic == "` + strings.Repeat("a", n-len(`topic == ""`)) + `"`) },
	"predicates of a when inside one another": func(n int) error {
		return when(`any(payload.a, ` + strings.Repeat(`any(#, `, n-1) + `true` + strings.Repeat(`)`, n))
	},
	"bytes of a topic pattern": func(n int) error {
		_, err := router.NewTable(router.Config{Routes: router.Routes{Routes: []router.Route{
			{Topic: strings.Repeat("a", n), Config: `{"targets":[{"destination":"a"}]}`},
		}}})
		return err
	},
	"bytes of a routes file": func(n int) error {
		_, err := router.ParseRoutes([]byte(strings.Repeat(" ", n-2) + "[]"))
		return err
	},
	"JSON values of a routes file": func(n int) error {
		_, err := router.ParseRoutes([]byte(`[{"topic":"a","config":` + zeros(n-4) + `}]`))
		return err
	},
}

func zeros(n int) string { return "[" + strings.TrimSuffix(strings.Repeat("0,", n), ",") + "]" }

func validate(config string) error {
	table, err := router.NewTable(router.Config{AllowExprPerEvent: true})
	return errors.Join(err, table.Validate([]byte(config)))
}

func target(members string) error { return validate(`{"targets":[{` + members + `}]}`) }

func conditions(text string) error { return target(`"destination":"a","conditions":` + text) }

func when(text string) error {
	quoted, err := json.Marshal(text)
	return errors.Join(err, target(`"destination":"a","when":`+string(quoted)))
}

func TestEveryLimitIsOnThePage(t *testing.T) {
	t.Parallel()
	var named []string
	for _, tb := range tables(t, routingPage) {
		if tb.header == "limit|value" {
			for _, row := range tb.rows {
				named = append(named, limitName(row[0]))
			}
		}
	}
	for name := range limits {
		require.True(t, slices.Contains(named, name), "%q", name)
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// deliveriesOf says in few words what explain says of an event with a config.
func deliveriesOf(t *testing.T, config, event string) (deliveries, payload string) {
	t.Helper()
	members := strings.TrimSuffix(strings.TrimPrefix(event, "{"), "}")
	r := outboxWith(`{"id":"1",`+members+`,"routing_config":`+config+"}\n", "explain", "--json", "--routing",
		files(t, "r.json", `[{"topic":"no.such","config":{"targets":[{"destination":"x"}]}}]`)+"r.json")
	var x struct {
		Error      string
		Deliveries []struct {
			Destination, Reason string
			Payload             json.RawMessage
		}
	}
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &x), r.stdout+r.stderr)
	if x.Error != "" {
		return "fault", ""
	}
	var all []string
	for _, d := range x.Deliveries {
		all, payload = append(all, d.Destination+": "+d.Reason), string(d.Payload)
	}
	return strings.Join(all, ", "), payload
}

// Both columns of every row of the page do what it says.
func TestFromPythonPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/from-python.md")
	require.NoError(t, err)
	configuration, err := os.ReadFile("../../docs/configuration.md")
	require.NoError(t, err)
	rows, header := map[string]int{}, ""
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			header = ""
			continue
		}
		if strings.HasPrefix(line, "|---") {
			continue
		}
		if header == "" {
			header = line
			continue
		}
		var cells []string
		for _, cell := range strings.Split(strings.Trim(line, "|"), " | ") {
			cells = append(cells, strings.Trim(strings.TrimSpace(cell), "`"))
		}
		kind, _, _ := strings.Cut(strings.Trim(header, "| "), " |")
		rows[kind]++
		switch kind {
		case "config from Python":
			for _, column := range [][2]int{{0, 2}, {3, 4}} {
				got, _ := deliveriesOf(t, cells[column[0]], cells[1])
				require.Equal(t, cells[column[1]], got, cells[column[0]])
			}
		case "transform from Python":
			for _, column := range [][2]int{{0, 2}, {3, 4}} {
				_, got := deliveriesOf(t, `{"targets":[{"destination":"a","transform":`+cells[column[0]]+`}]}`, `{"payload":`+cells[1]+`}`)
				require.Equal(t, cells[column[1]], got, cells[column[0]])
			}
		case "variable":
			known := regexp.MustCompile(fmt.Sprintf("(?m)^\\| `%s`[^|]*\\| `%s` \\|", cells[1], cells[0])).Match(configuration)
			require.Equal(t, cells[1] != "not used", known, line)
			if !known {
				require.NotContains(t, string(configuration), "| `"+cells[0]+"` |")
			}
		default:
			t.Fatalf("no check for the table %q", header)
		}
	}
	require.Equal(t, map[string]int{"config from Python": 10, "transform from Python": 4, "variable": 13}, rows)
}

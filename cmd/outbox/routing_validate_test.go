package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// outboxWith is outbox with something on the standard input.
func outboxWith(stdin string, args ...string) result {
	var stdout, stderr bytes.Buffer
	status := run(args, strings.NewReader(stdin), &stdout, &stderr)
	return result{status, stdout.String(), stderr.String()}
}

// files writes files, given as pairs of name and text, into a directory, and returns it with a slash.
func files(t *testing.T, texts ...string) string {
	t.Helper()
	dir := t.TempDir() + string(filepath.Separator)
	for i := 0; i < len(texts); i += 2 {
		require.NoError(t, os.WriteFile(dir+texts[i], []byte(texts[i+1]), 0o600))
	}
	return dir
}

func TestValidate(t *testing.T) {
	t.Parallel()
	const config = `{"targets":[{"destination":"kafka://orders","retry_policy":"slow"}]}`
	for name, c := range map[string]struct {
		stdin string
		args  []string
		want  []string // lines of the output; none: OK
	}{
		"config":          {`{"version":1,"targets":[{"destination":"a"}]}`, nil, nil},
		"config in YAML":  {"targets:\n  - destination: a\n", nil, nil},
		"routes":          {`{"routing_version":"1","routes":[{"topic":"a.*","config":{"targets":[{"destination":"a"}]}}]}`, nil, nil},
		"routes in YAML":  {"- topic: a.**\n  config:\n    targets: [{destination: a, when: payload.a > 1}]\n", nil, nil},
		"behind a BOM":    {"\ufeff{\"targets\":[{\"destination\":\"a\"}]}", nil, nil},
		"own policy":      {config, []string{"--policy", "slow=3,1m,2,1h"}, nil},
		"unknown policy":  {config, nil, []string{`/targets/0/retry_policy: unknown retry policy "slow"; known are aggressive, default, exponential, none`}},
		"publisher":       {config, []string{"--policy", "slow=3,1m,2,1h", "--publisher", "redis", "--publisher", "kafka"}, nil},
		"other publisher": {config, []string{"--policy", "slow=3,1m,2,1h", "--publisher", "kafak"}, []string{`/targets/0/destination: unknown publisher "kafka", did you mean "kafak"?`}},
		"every fault of a config": {
			`{"strategy":"best","targets":[{"destination":"a","conditions":{"payload.a":{"$gtt":1}},"sampling_rat":1},{"destination":"a","delay_seconds":-1}]}`, nil,
			[]string{
				`/targets/0/sampling_rat: unknown key "sampling_rat", did you mean "sampling_rate"?`,
				`/strategy: unknown strategy "best"; known are best_effort, all_or_nothing`,
				`/targets/0/conditions/payload.a/$gtt: unknown operator $gtt, did you mean $gt?`,
				`/targets/1/delay_seconds: is -1, must be between 0 and 31622400 (366 days)`,
				`/targets/1/destination: target name "a" is used twice; give each target a name of its own`,
			},
		},
		"every fault of a routes file, each once": {
			`[{"topic":"a.*b","config":{"targets":[{"destination":"a"}],"x":1}},{"topicc":"x"},{"topic":"","config":{"targets":[{"destination":""}]}}]`, nil,
			[]string{
				`/1/topicc: unknown key "topicc", did you mean "topic"?`, `/1: has no "topic"`, `/1: has no "config"`, `/2/topic: is empty`,
				`/0/topic: topic pattern "a.*b" has a star inside a segment; * and ** stand for whole segments`,
				`/0/config/x: unknown key "x"; known are version, strategy, fallback, targets`,
				`/2/config/targets/0/destination: is empty`,
			},
		},
		"neither JSON nor YAML": {"{\"targets\":", nil, []string{"is not JSON at byte 11: unexpected end of JSON input"}},
		"broken YAML":           {"a: [", nil, []string{"is not YAML: yaml: line 1: did not find expected node content"}},
		"empty":                 {"", nil, []string{"is not YAML: EOF"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := outboxWith(c.stdin, append([]string{"validate", "-"}, c.args...)...)
			if c.want == nil {
				require.Equal(t, result{statusDone, "-: OK\n", ""}, r)
				return
			}
			want := "-: " + strings.Join(c.want, "\n-: ") + "\n"
			require.Equal(t, result{statusUsage, want, "outbox: 1 of 1 files is not valid\n"}, r)
		})
	}
}

func TestValidateGoesThroughAllFiles(t *testing.T) {
	t.Parallel()
	dir := files(t, "good.yaml", "targets: [{destination: a}]", "bad.json", `{"targets":[{}]}`)
	args := []string{"validate", dir + "bad.json", dir + "good.yaml", dir + "none.yaml", dir}
	r := outbox(args...).require(t, statusUsage)
	require.Equal(t, strings.ReplaceAll(`DIRbad.json: /targets/0: has no "destination"
DIRgood.yaml: OK
DIRnone.yaml: cannot be read: no such file or directory
DIR: cannot be read: is a directory
`, "DIR", dir), r.stdout)
	require.Equal(t, "outbox: 3 of 4 files are not valid\n", r.stderr)

	r = outbox(append(args, "--json")...).require(t, statusUsage)
	require.Equal(t, strings.ReplaceAll(`{"file":"DIRbad.json","valid":false,"faults":[{"pointer":"/targets/0","message":"has no \"destination\""}]}
{"file":"DIRgood.yaml","valid":true,"faults":[]}
{"file":"DIRnone.yaml","valid":false,"faults":[{"pointer":"","message":"cannot be read: no such file or directory"}]}
{"file":"DIR","valid":false,"faults":[{"pointer":"","message":"cannot be read: is a directory"}]}
`, "DIR", dir), r.stdout)
}

func TestRoutingFlags(t *testing.T) {
	t.Parallel()
	args := []string{"--publisher", "", "--publisher", "kafka://x"}
	want := []string{"--policy: number 1: want NAME=ATTEMPTS,INITIAL,MULTIPLIER,MAX", "--policy: number 3: want NAME="}
	for _, c := range []struct{ policy, fault string }{
		{"slow", ""}, {"a=3,1m,2", "want ATTEMPTS"}, {"=3,1m,2,1h", ""},
		{"b=x,1m,2,1h", `"x" is not a number of attempts`}, {"c=3,1,2,1h", `"1" is not a duration`}, {"d=3,1m,x,1h", `"x" is not a multiplier`},
		{"e=3,1m,2,x", `"x" is not a duration`}, {"f=0,1m,2,1h", "max attempts is 0, must be at least 1"}, {"g=3,1m,0.5,1h", "multiplier is 0.5"},
	} {
		args = append(args, "--policy", c.policy)
		if c.fault != "" {
			want = append(want, "--policy "+c.policy[:1]+": "+c.fault)
		}
	}
	want = append(want, "--publisher number 1: want a name", "--publisher number 2: want a name")
	for _, command := range [][]string{{"validate", "-"}, {"explain", "--routing", "none"}} {
		r := outbox(append(command, args...)...).require(t, statusUsage)
		require.Empty(t, r.stdout)
		lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
		require.Len(t, lines, len(want))
		for i := range want {
			require.True(t, strings.HasPrefix(lines[i], "outbox: "+want[i]), "line %d is %s, want %s", i, lines[i], want[i])
		}
	}
}

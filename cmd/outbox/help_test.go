package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every way to ask for help or the version works, and all say the same.
func TestHelp(t *testing.T) {
	t.Parallel()
	root := outbox("--help").require(t, statusDone).stdout
	require.Contains(t, root, "Usage: outbox <command>")
	require.Equal(t, root, outbox().require(t, statusDone).stdout)
	require.Equal(t, root, outbox("help").require(t, statusDone).stdout)
	for _, command := range []string{"run", "dead", "dead list", "migrate up", "config print", "help", "version", "completion bash"} {
		want := outbox(append(strings.Fields(command), "--help")...).require(t, statusDone).stdout
		require.Contains(t, want, "Usage: outbox "+command)
		require.Equal(t, want, outbox(append([]string{"help"}, strings.Fields(command)...)...).require(t, statusDone).stdout)
	}
	require.Equal(t, outbox("--version").require(t, statusDone).stdout, outbox("version").require(t, statusDone).stdout)
}

// A command line that cannot be parsed points to the help of the command that it is about.
func TestWrongUsePointsToItsHelp(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"replicate":            "outbox --help",
		"--jsn":                "outbox --help",
		"stats --jsn":          "outbox stats --help",
		"dead":                 "outbox dead --help",
		"dead lst":             "outbox dead --help",
		"dead list --limt 3":   "outbox dead list --help",
		"migrate down --force": "outbox migrate down --help",
		"pause":                "outbox pause --help",
		"stats --by colour":    "outbox stats --help",
	} {
		r := outbox(strings.Fields(args)...).require(t, statusUsage)
		require.True(t, strings.HasSuffix(r.stderr, "\noutbox: see "+want+"\n"), r.stderr)
		require.Empty(t, r.stdout)
	}
}

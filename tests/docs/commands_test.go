package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	file    = regexp.MustCompile("(?m)^<!-- file: (\\S+) -->\n```\\w*\n((?s:.*?))^```$")
	console = regexp.MustCompile("(?m)^```console\n((?s:.*?))^```$")
)

const configurationPage = root + "/docs/configuration.md"

// The commands of a page are run in a directory with the files that the page shows, and print what it says.
func TestCommandsPrintWhatThePageSays(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped: builds the binary")
	}
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, "outbox"), ".")
	build.Dir = filepath.Join(root, "cmd", "outbox")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, page := range []string{routingPage, configurationPage} {
		t.Run(filepath.Base(page), func(t *testing.T) { runCommands(t, bin, page) })
	}
}

func runCommands(t *testing.T, bin, page string) {
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	dir := t.TempDir()
	shown := file.FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, shown)
	for _, m := range shown {
		require.NoError(t, os.WriteFile(filepath.Join(dir, m[1]), []byte(m[2]), 0o600))
	}
	blocks := console.FindAllStringSubmatch(string(text), -1)
	require.NotEmpty(t, blocks)
	for _, m := range blocks {
		var commands []string
		for line := range strings.Lines(m[1]) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				commands = append(commands, "printf '%s\\n' "+quoted("$ "+strings.TrimSpace(command))+"; (exit $status)\n"+command+"status=$?\n")
			}
		}
		sh := exec.CommandContext(t.Context(), "sh", "-c", "exec 2>&1; status=0\n"+strings.Join(commands, ""))
		sh.Dir, sh.Env = dir, append(os.Environ(), "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"), "LC_ALL=C")
		out, err := sh.Output()
		require.NoError(t, err, "%s", out)
		require.Equal(t, m[1], string(out))
	}
}

func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

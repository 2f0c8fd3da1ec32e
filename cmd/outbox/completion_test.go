package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is completed in a shell that is there, by its own means.
func TestCompletion(t *testing.T) {
	t.Parallel()
	file := binary(t)
	shells := map[string]func(words []string) string{
		"bash": func(words []string) string {
			return `source <(outbox completion bash); COMP_WORDS=(outbox ` + strings.Join(words, " ") + `); COMP_CWORD=` + "$((${#COMP_WORDS[@]} - 1))" +
				`; _outbox; printf '%s\n' "${COMPREPLY[@]}"`
		},
		"zsh": func(words []string) string { // its line editor needs a terminal: what it would be given is printed
			return `compdef() { [[ $* == "_outbox outbox" ]] }; compadd() { print -rl -- "${(@P)2}" }; _files() {}; source <(outbox completion zsh); words=(outbox ` +
				strings.Join(words, " ") + `); CURRENT=$#words; _outbox`
		},
		"fish": func(words []string) string {
			return `outbox completion fish | source; cd (mktemp -d); complete -C "outbox ` + strings.ReplaceAll(strings.Join(words, " "), "''", "") + `" | string split -f 1 \t; true`
		},
	}
	for shell, script := range shells {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skip("skipped: there is no " + shell)
			}
			for _, test := range []struct{ words, want string }{
				{"dea", "dead"},
				{"dead ''", "discard list replay show"},
				{"dead li", "list"},
				{"help dead sh", "show"},
				{"run --profile ''", "high_throughput low_latency"},
				{"run --profile low", "low_latency"},
				{"stats --by t", "tenant topic"},
				{"--log-level debug dead dis", "discard"},
				{"pause --ten", "--tenant"},
				{"nothing at all", ""},
			} {
				cmd := exec.CommandContext(t.Context(), path, "-c", script(strings.Fields(test.words)))
				cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(file)+":"+os.Getenv("PATH"), "HOME="+t.TempDir())
				out, err := cmd.CombinedOutput()
				require.NoError(t, err, "%s: %s", test.words, out)
				require.ElementsMatch(t, strings.Fields(test.want), strings.Fields(string(out)), test.words)
			}
		})
	}
}

// Every command and flag has help, in one sentence or more, and its name is completed.
func TestEveryCommandAndFlagIsCompleted(t *testing.T) {
	t.Parallel()
	for _, line := range strings.Split(strings.TrimSpace(outbox(completeWords, "").require(t, statusDone).stdout), "\n") {
		name, help, _ := strings.Cut(line, "\t")
		require.True(t, strings.HasSuffix(help, "."), line)
		flags := outbox(completeWords, name, "--").require(t, statusDone).stdout
		require.Contains(t, flags, "--help\t", name)
		for flag := range strings.Lines(flags) {
			_, help, _ := strings.Cut(strings.TrimSpace(flag), "\t")
			require.True(t, strings.HasSuffix(help, "."), "%s: %s", name, flag)
		}
	}
}

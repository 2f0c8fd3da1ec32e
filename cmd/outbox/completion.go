package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
)

// completeWords is the hidden command that completion scripts call. It completes the last of its arguments.
const completeWords = "__complete"

type completionCommand struct {
	Bash completionScript `cmd:"" help:"Print the script for bash: source <(outbox completion bash)"`
	Zsh  completionScript `cmd:"" help:"Print the script for zsh: source <(outbox completion zsh)"`
	Fish completionScript `cmd:"" help:"Print the script for fish: outbox completion fish | source"`
}

type completionScript struct{}

var completionScripts = map[string]string{
	"bash": `_outbox() {
    local IFS=$'\n'
    COMPREPLY=($(outbox __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f 1))
}
complete -o default -F _outbox outbox
`,
	"zsh": `#compdef outbox
_outbox() {
    local -a names
    names=("${(@f)$(outbox __complete "${(@)words[2,CURRENT]}" 2>/dev/null | cut -f 1)}")
    if [[ -n $names[1] ]]; then compadd -a names; else _files; fi
}
compdef _outbox outbox
`,
	"fish": `complete -c outbox -a '(outbox __complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
`,
}

// Run prints a script. The script asks this command for candidates, so it need not be updated with the command.
func (completionScript) Run(s *session, command *kong.Context) error {
	_, err := fmt.Fprint(s.stdout, completionScripts[command.Selected().Name])
	return err
}

// complete prints the candidates for the last of words, one per line, with their help after a tab. It prints nothing where a file or a name is expected.
func (s *session) complete(app *kong.Application, words []string) int {
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	node, value := app.Node, (*kong.Flag)(nil)
	for _, word := range words[:len(words)-1] {
		switch {
		case value != nil:
			value = nil
		case strings.HasPrefix(word, "-"):
			if flag := findFlag(node, word); flag != nil && !flag.IsBool() && !strings.Contains(word, "=") {
				value = flag
			}
		case node.Parent == app.Node && node.Name == "help":
			node = cmp.Or(findCommand(app.Node, word), node)
		default:
			node = cmp.Or(findCommand(node, word), node)
		}
	}
	for _, c := range candidates(app, node, value, last) {
		if name, _, _ := strings.Cut(c, "\t"); strings.HasPrefix(name, last) {
			fmt.Fprintln(s.stdout, c)
		}
	}
	return statusDone
}

func candidates(app *kong.Application, node *kong.Node, value *kong.Flag, last string) (list []string) {
	switch {
	case value != nil && value.Enum != "":
		return slices.Sorted(strings.SplitSeq(value.Enum, ","))
	case value != nil:
		for _, s := range config.Settings() {
			if s.Flag == value.Name {
				return s.Choices()
			}
		}
	case strings.HasPrefix(last, "-"):
		for _, group := range node.AllFlags(true) {
			for _, flag := range group {
				list = append(list, "--"+flag.Name+"\t"+firstLine(flag.Help))
			}
		}
	default:
		if node.Name == "help" {
			node = app.Node
		}
		for _, child := range node.Children {
			if !child.Hidden {
				list = append(list, child.Name+"\t"+firstLine(child.Help))
			}
		}
	}
	return list
}

func firstLine(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	return text
}

func findCommand(node *kong.Node, name string) *kong.Node {
	for _, child := range node.Children {
		if child.Name == name {
			return child
		}
	}
	return nil
}

func findFlag(node *kong.Node, word string) *kong.Flag {
	name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
	for _, group := range node.AllFlags(false) {
		for _, flag := range group {
			if flag.Name == name || len(name) == 1 && flag.Short == rune(name[0]) {
				return flag
			}
		}
	}
	return nil
}

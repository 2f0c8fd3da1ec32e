// Page writes docs/configuration.md: the text of configuration.md.tmpl in this directory, with tables made of the settings.
package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"strings"
	"text/template"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
)

//go:embed configuration.md.tmpl
var text string

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "want the file to write")
		os.Exit(2)
	}
	page, err := render()
	if err == nil {
		err = os.WriteFile(os.Args[1], page, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func render() ([]byte, error) {
	t, err := template.New("configuration.md.tmpl").Funcs(template.FuncMap{"settings": table}).Parse(text)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, nil)
	return b.Bytes(), err
}

// table lists the settings of a section.
func table(section string) (string, error) {
	var b strings.Builder
	b.WriteString("| key | variable | default | |\n|---|---|---|---|")
	rows := 0
	for _, s := range config.Settings() {
		if s.Section != section {
			continue
		}
		rows++
		key := "`" + s.Key + "`"
		if flag := strings.ReplaceAll(s.Flag, "-", "_"); flag != s.Key {
			key += " (`--" + s.Flag + "`)"
		}
		value := s.Default
		if value == "" {
			value = "-"
		}
		help := s.Help
		if values := s.Values("`"); values != "" {
			help += " " + values
		}
		fmt.Fprintf(&b, "\n| %s | `%s` | %s | %s |", key, s.Env, value, strings.ReplaceAll(help, "|", `\|`))
	}
	if rows == 0 {
		return "", fmt.Errorf("no settings in section %q", section)
	}
	return b.String(), nil
}

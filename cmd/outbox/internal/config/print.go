package config

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Write writes l as a YAML file with the origin of each value. Settings without a value are comments. The file can be read again, except for secrets,
// which are hidden.
func (l Loaded) Write(w io.Writer) error {
	var b bytes.Buffer
	for _, s := range settings {
		items := s.format(s.field(&l.Config))
		for i := range items {
			items[i] = s.shown(items[i])
		}
		switch {
		case len(items) == 0:
			fmt.Fprintf(&b, "# %s:\n", s.Key)
		case s.kind == mapType:
			fmt.Fprintf(&b, "%s:\n", s.Key)
			for _, item := range items {
				name, value, _ := strings.Cut(item, "=")
				text, err := scalar(value)
				if err != nil {
					return err
				}
				origin := cmp.Or(l.Origins[s.Key+"."+name], l.Origins[s.Key])
				fmt.Fprintf(&b, "  %s: %s # %s\n", name, text, origin.Place)
			}
		default:
			text, err := scalar(strings.Join(items, ","))
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%s: %s # %s\n", s.Key, text, l.Origins[s.Key].Place)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// scalar returns text as a YAML scalar on one line.
func scalar(text string) (string, error) {
	var into any
	n := yaml.Node{Kind: yaml.ScalarNode, Value: text}
	if yaml.Unmarshal([]byte(text), &into) != nil || strings.ContainsAny(text, "\n#:") || into == nil {
		n.Style = yaml.DoubleQuotedStyle
	}
	out, err := yaml.Marshal(&n)
	return strings.TrimRight(string(out), "\n"), err
}

package config

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Write writes l as a YAML file that says where each value comes from. Secrets are hidden; apart from them, and from settings without a value,
// which are comments, it can be read again.
func (l Loaded) Write(w io.Writer) error {
	var b bytes.Buffer
	for _, s := range settings {
		items := s.format(s.field(&l.Config))
		if s.Key == "publish_timeout" && l.PublishTimeout == 0 {
			items = []string{short(l.publishTimeout())}
		}
		for i := range items {
			items[i] = s.shown(items[i])
		}
		switch {
		case len(items) == 0:
			fmt.Fprintf(&b, "# %s:\n", s.Key)
		case s.named():
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

// scalar is text as YAML takes it, in one line.
func scalar(text string) (string, error) {
	var into any
	n := yaml.Node{Kind: yaml.ScalarNode, Value: text}
	if yaml.Unmarshal([]byte(text), &into) != nil || strings.ContainsAny(text, "\n#:") || into == nil {
		n.Style = yaml.DoubleQuotedStyle
	}
	out, err := yaml.Marshal(&n)
	return strings.TrimRight(string(out), "\n"), err
}

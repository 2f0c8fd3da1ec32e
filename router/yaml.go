package router

import (
	"bytes"
	"math"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/bento-outbox/watermill-outbox/internal/rules"
	"github.com/bento-outbox/watermill-outbox/internal/rules/jsontext"
)

// fromYAML turns a YAML document into JSON, keeping the order of keys and the spelling of numbers. Aliases are written out,
// as far as a file may be long. After a fault it returns nil.
func (r *reader) fromYAML(file []byte) []byte {
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(file))
	if err := dec.Decode(&doc); err != nil {
		r.Add("", "is not YAML: %s", err)
		return nil
	}
	if err := dec.Decode(new(yaml.Node)); err == nil {
		r.Add("", "has more than one YAML document")
		return nil
	}
	w := &yamlWriter{reader: r}
	if !w.write(&doc, "", 0) {
		return nil
	}
	return w.out.Bytes()
}

type yamlWriter struct {
	*reader
	out   bytes.Buffer
	nodes int
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

// write writes n, or reports why it cannot be written and returns false.
func (w *yamlWriter) write(n *yaml.Node, at string, depth int) bool {
	fault := func(format string, args ...any) bool {
		w.Add(at, "line %d: "+format, append([]any{n.Line}, args...)...)
		return false
	}
	w.nodes++
	switch {
	case depth > 2*maxNodeDepth:
		return fault("nested too deep")
	case w.out.Len() > maxFileSize || w.nodes > maxFileNodes:
		return fault("file is too long with its aliases written out")
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return w.write(n.Content[0], at, depth+1)
	case yaml.AliasNode:
		return w.write(n.Alias, at, depth+1)
	case yaml.SequenceNode:
		w.out.WriteByte('[')
		for i, elem := range n.Content {
			if i > 0 {
				w.out.WriteByte(',')
			}
			if !w.write(elem, rules.Pointer(at, strconv.Itoa(i)), depth+1) {
				return false
			}
		}
		w.out.WriteByte(']')
	case yaml.MappingNode:
		w.out.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind == yaml.AliasNode {
				key = key.Alias
			}
			if key.Kind != yaml.ScalarNode {
				return fault("a key is no scalar")
			}
			if key.Tag == "!!merge" {
				return fault("merge keys (<<) are not supported")
			}
			if i > 0 {
				w.out.WriteByte(',')
			}
			w.out.WriteString(jsontext.Quote(key.Value))
			w.out.WriteByte(':')
			if !w.write(n.Content[i+1], rules.Pointer(at, key.Value), depth+1) {
				return false
			}
		}
		w.out.WriteByte('}')
	case yaml.ScalarNode:
		text, ok := scalar(n)
		if !ok {
			return fault("%.40q cannot be written as JSON", n.Value)
		}
		w.out.WriteString(text)
	default:
		return fault("is empty")
	}
	return true
}

// scalar returns the JSON of a scalar, or false when there is none.
func scalar(n *yaml.Node) (text string, ok bool) {
	switch n.ShortTag() {
	case "!!null":
		return "null", true
	case "!!bool":
		var b bool
		err := n.Decode(&b)
		return strconv.FormatBool(b), err == nil
	case "!!int", "!!float":
		if jsonNumber.MatchString(n.Value) {
			return n.Value, true
		}
		var i int64
		if n.ShortTag() == "!!int" && n.Decode(&i) == nil {
			return strconv.FormatInt(i, 10), true
		}
		var f float64
		if err := n.Decode(&f); err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			return "", false
		}
		return strconv.FormatFloat(f, 'g', -1, 64), true
	case "!!str", "!!timestamp":
		return jsontext.Quote(n.Value), true
	}
	return "", false
}

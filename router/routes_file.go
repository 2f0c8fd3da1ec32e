package router

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/bento-outbox/watermill-outbox/internal/rules"
)

// ParseRoutes reads a routes file, in JSON or YAML:
//
//	routing_version: "2025-03"
//	routes:
//	  - topic: orders.*
//	    name: orders
//	    config:
//	      targets:
//	        - destination: kafka://orders
//
// A list of routes alone will do as well, and so will one [RoutingConfig], which becomes the route of every topic. The form is read strictly: unknown and duplicate keys are faults. The error is an
// [InvalidConfigError] with all the faults of the form; [Routes.Validate] and [NewTable] look at what the routes say.
func ParseRoutes(file []byte) (Routes, error) {
	d := &decoder{limits: Limits{ConfigSize: maxFileSize, Nodes: maxFileNodes}}
	d.limits = d.limits.withDefaults()
	if len(file) > maxFileSize {
		d.Add("", "is %d bytes long, more than %d", len(file), maxFileSize)
		return Routes{}, d.err()
	}
	text := bytes.TrimSpace(file)
	if len(text) == 0 || text[0] != '{' && text[0] != '[' {
		var err error
		if text, err = fromYAML(file); err != nil {
			d.addAll("", err)
			return Routes{}, d.err()
		}
	}
	routes := d.routes(d.parse(string(text), ""))
	return routes, d.err()
}

// fromYAML turns a YAML document into JSON, keeping the order of keys and the spelling of numbers. Aliases are written out,
// as far as a file may be long.
func fromYAML(file []byte) ([]byte, error) {
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(file))
	if err := dec.Decode(&doc); err != nil {
		return nil, fmt.Errorf("is not YAML: %w", err)
	}
	if err := dec.Decode(new(yaml.Node)); err == nil {
		return nil, errors.New("has more than one YAML document")
	}
	w := &yamlWriter{}
	if err := w.write(&doc, "", 0); err != nil {
		return nil, err
	}
	return w.out.Bytes(), nil
}

type yamlWriter struct {
	out   bytes.Buffer
	nodes int
}

var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

func (w *yamlWriter) write(n *yaml.Node, pointer string, depth int) error {
	fault := func(format string, args ...any) error {
		return &InvalidConfigError{Faults: []Fault{{Pointer: pointer, Message: fmt.Sprintf("line %d: ", n.Line) + fmt.Sprintf(format, args...)}}}
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
		return w.write(n.Content[0], pointer, depth+1)
	case yaml.AliasNode:
		return w.write(n.Alias, pointer, depth+1)
	case yaml.SequenceNode:
		w.out.WriteByte('[')
		for i, elem := range n.Content {
			if i > 0 {
				w.out.WriteByte(',')
			}
			if err := w.write(elem, rules.Pointer(pointer, strconv.Itoa(i)), depth+1); err != nil {
				return err
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
			w.str(key.Value)
			w.out.WriteByte(':')
			if err := w.write(n.Content[i+1], rules.Pointer(pointer, key.Value), depth+1); err != nil {
				return err
			}
		}
		w.out.WriteByte('}')
	case yaml.ScalarNode:
		text, ok := scalar(n)
		if !ok {
			return fault("%.40q cannot be written as JSON", n.Value)
		}
		if text == "" {
			w.str(n.Value)
		} else {
			w.out.WriteString(text)
		}
	default:
		return fault("is empty")
	}
	return nil
}

// scalar returns the JSON of what is no string, "" for a string.
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
		return "", true
	}
	return "", false
}

func (w *yamlWriter) str(text string) {
	quoted, err := marshal(text)
	if err != nil {
		quoted = `""`
	}
	w.out.WriteString(quoted)
}

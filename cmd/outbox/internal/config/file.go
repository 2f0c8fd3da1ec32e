package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"
)

// maxFile is the largest file in bytes: a larger one was named by mistake.
const maxFile = 1 << 20

// file returns what a YAML file sets, by key. JSON is YAML. An empty path names no file.
func file(path string, faults *Faults) map[string]given {
	set := map[string]given{}
	if path == "" {
		return set
	}
	text, err := read(path)
	if err != nil {
		faults.add("", path, err)
		return set
	}
	var doc yaml.Node
	documents := yaml.NewDecoder(bytes.NewReader(text))
	if err := documents.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		faults.add("", path, err)
		return set
	}
	if err := documents.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		faults.addf("", path, "there is a second document behind ---; want one")
		return set
	}
	if len(doc.Content) == 0 {
		return set // empty
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		faults.addf("", path, "want settings, as in batch_size: 1000")
		return set
	}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		place := fmt.Sprintf("%s:%d", path, key.Line)
		s, known := find(byKey, key.Value)
		if !known {
			faults.addf("", place, "unknown key %q%s", key.Value, didYouMean(key.Value, byKey))
			continue
		}
		place += ": " + s.Key
		if _, twice := set[s.Key]; twice {
			faults.addf(s.Key, place, "it is set twice")
			continue
		}
		items, err := s.items(value)
		if err != nil {
			faults.add(s.Key, place, err)
			continue
		}
		if s.Key == "routes" && len(items) == 1 && !s.isOff(items[0]) && !filepath.IsAbs(items[0]) {
			items[0] = filepath.Join(filepath.Dir(path), items[0])
		}
		if len(items) > 0 {
			set[s.Key] = given{items: items, origin: Origin{Layer: File, Place: place}}
		}
	}
	return set
}

func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxFile {
		return nil, fmt.Errorf("it has %d bytes; at most %d are allowed", info.Size(), maxFile)
	}
	if err == nil {
		var text []byte
		if text, err = os.ReadFile(path); err == nil {
			return text, nil
		}
	}
	var named *fs.PathError
	if errors.As(err, &named) {
		err = named.Err // the place names the path
	}
	return nil, err
}

// items returns the values of a node: those of a sequence, NAME=VALUE for each entry of a mapping, or one.
func (s Setting) items(n *yaml.Node) ([]string, error) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	scalar := func(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag != "!!null" }
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return nil, nil
	case s.kind == mapType && n.Kind == yaml.MappingNode:
		var list []string
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !scalar(n.Content[i+1]) {
				return nil, fmt.Errorf("%s: want text", n.Content[i].Value)
			}
			list = append(list, n.Content[i].Value+"="+n.Content[i+1].Value)
		}
		return list, nil
	case s.kind == mapType:
		return nil, errors.New("want names with values, as in kafka: kafka://localhost:9092")
	case s.kind == listType && n.Kind == yaml.SequenceNode:
		var list []string
		for i, one := range n.Content {
			if !scalar(one) {
				return nil, fmt.Errorf("number %d: want text", i+1)
			}
			list = append(list, one.Value)
		}
		return list, nil
	case n.Kind == yaml.ScalarNode:
		return []string{n.Value}, nil
	}
	return nil, errors.New("want one value")
}

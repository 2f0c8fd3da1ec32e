package router

import (
	"errors"
	"fmt"
	"strings"
)

// pattern is a topic pattern: segments between dots, in which * matches one segment and ** any number of segments.
type pattern []string

const maxPattern = 500 // bytes

func parsePattern(text string) (pattern, error) {
	switch {
	case text == "":
		return nil, errors.New("topic pattern is empty")
	case len(text) > maxPattern:
		return nil, fmt.Errorf("topic pattern is longer than %d bytes", maxPattern)
	}
	p := pattern(strings.Split(text, "."))
	for _, segment := range p {
		if segment != "*" && segment != "**" && strings.Contains(segment, "*") {
			return nil, fmt.Errorf("topic pattern %q has a star inside a segment; * and ** stand for whole segments", text)
		}
	}
	return p, nil
}

// exact reports whether p has no stars.
func (p pattern) exact() bool {
	for _, segment := range p {
		if segment == "*" || segment == "**" {
			return false
		}
	}
	return true
}

// matches reports whether p matches topic. It takes time proportional to the product of both lengths: it backtracks to the last ** only.
func (p pattern) matches(topic []string) bool {
	i, j, star, resume := 0, 0, -1, 0
	for j < len(topic) {
		switch {
		case i < len(p) && p[i] == "**":
			star, resume = i, j
			i++
		case i < len(p) && (p[i] == "*" || p[i] == topic[j]):
			i++
			j++
		case star >= 0:
			resume++
			i, j = star+1, resume
		default:
			return false
		}
	}
	for i < len(p) && p[i] == "**" {
		i++
	}
	return i == len(p)
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/bento-outbox/watermill-outbox/internal/english"
	"github.com/bento-outbox/watermill-outbox/router"
)

type validateCommand struct {
	routingFlags
	Files []string `arg:"" name:"file" help:"Routing configs or routes files, in JSON or YAML; - is standard input."`
	JSON  bool     `name:"json" help:"Print one JSON object per file."`
}

// validation is the output of --json for a file.
type validation struct {
	File   string         `json:"file"`
	Valid  bool           `json:"valid"`
	Faults []router.Fault `json:"faults"`
}

// Run lists the faults of all files.
func (c *validateCommand) Run(s *session) error {
	config := c.check(s)
	if err := s.faults.Err(); err != nil {
		return err
	}
	invalid := 0
	for _, file := range c.Files {
		faults := s.validate(file, config)
		if len(faults) > 0 {
			invalid++
		}
		if err := c.print(s, file, faults); err != nil {
			return err
		}
	}
	if invalid > 0 {
		s.faults.Add("%d of %d files %s not valid", invalid, len(c.Files), english.Either(invalid, "is", "are"))
	}
	return s.faults.Err()
}

func (c *validateCommand) print(s *session, file string, faults []router.Fault) error {
	if c.JSON {
		return newEncoder(s.stdout).Encode(validation{File: file, Valid: len(faults) == 0, Faults: faults})
	}
	if len(faults) == 0 {
		_, err := fmt.Fprintf(s.stdout, "%s: OK\n", file)
		return err
	}
	for _, fault := range faults {
		if _, err := fmt.Fprintf(s.stdout, "%s: %s\n", file, oneLine(fault.String())); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) validate(file string, config router.Config) []router.Fault {
	text, err := s.readRouting(file)
	if err != nil {
		return []router.Fault{{Message: "cannot be read: " + err.Error()}}
	}
	_, faults := parseRoutes(text, config)
	return faults
}

// parseRoutes reads a routing config or a static routes file and returns all its faults: those of the form of the file,
// and those of the configs in it.
func parseRoutes(text []byte, config router.Config) (router.Routes, []router.Fault) {
	routes, malformed := router.ParseRoutes(text)
	faults := faultsOf(malformed)
	for _, fault := range faultsOf(routes.Validate(config)) {
		if malformed != nil && missing(fault) {
			continue // it is among those of the form
		}
		faults = append(faults, fault)
	}
	return routes, faults
}

// missing tells whether a fault says of a route that its topic or config is not there.
func missing(f router.Fault) bool {
	return strings.HasSuffix(f.Pointer, "/topic") && strings.Contains(f.Message, "is empty") ||
		strings.HasSuffix(f.Pointer, "/config") && strings.HasPrefix(f.Message, "is not JSON")
}

func faultsOf(err error) []router.Fault {
	var invalid *router.InvalidConfigError
	switch {
	case err == nil:
		return []router.Fault{}
	case errors.As(err, &invalid):
		return invalid.Faults
	}
	return []router.Fault{{Message: err.Error()}}
}

// withoutPath removes the path from an error whose message names the file already.
func withoutPath(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

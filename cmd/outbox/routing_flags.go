package main

import (
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/bento-outbox/watermill-outbox/router"
)

// routingFlags add publishers and retry policies to those in the settings of run.
type routingFlags struct {
	Publisher []string `sep:"none" placeholder:"NAME" help:"Publisher name to accept before :// in a destination, in addition to the destinations configured for run. Can be repeated. Without any, every name is accepted."`
	Policy    []string `setting:"" sep:"none"`
}

// reads implements reader.
func (r routingFlags) reads() []string {
	return []string{"destinations", "to", "redis_url", "policies", "allow_when_per_event"}
}

// check returns the routing configuration of run with the additions of the flags.
func (r routingFlags) check(s *session) router.Config {
	for i, name := range r.Publisher {
		if name == "" || strings.Contains(name, "://") {
			s.faults.Add("--publisher number %d: want a name, such as kafka", i+1)
		}
	}
	c := s.routing()
	c.Publishers = append(c.Publishers, r.Publisher...)
	return c
}

// routing returns the routing configuration of the settings without routes.
func (s *session) routing() router.Config {
	return s.config.Router(slices.Sorted(maps.Keys(s.config.ByName)))
}

// maxRoutingFile is the number of bytes to read: the router refuses more than 16 MiB.
const maxRoutingFile = 16<<20 + 1

func (s *session) readRouting(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(io.LimitReader(s.stdin, maxRoutingFile))
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxRoutingFile))
	return text, withoutPath(err)
}

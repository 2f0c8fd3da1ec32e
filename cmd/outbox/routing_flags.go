package main

import (
	"errors"
	"io"
	"os"
	"strings"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/config"
	"github.com/bento-outbox/watermill-outbox/middleware"
	"github.com/bento-outbox/watermill-outbox/router"
)

// routingFlags say what the forwarder knows that a routing config may name.
type routingFlags struct {
	Publisher []string `sep:"none" placeholder:"NAME" help:"A name that may stand in front of :// in a destination. Repeat it for several; without it every name will do."`
	Policy    []string `sep:"none" placeholder:"NAME=ATTEMPTS,INITIAL,MULTIPLIER,MAX" help:"A retry policy of your own, such as slow=3,1m,2,1h. Repeat it for several."`
}

func (r routingFlags) check(f *faults) router.Config {
	c := router.Config{Publishers: r.Publisher}
	for i, name := range r.Publisher {
		if name == "" || strings.Contains(name, "://") {
			f.add("--publisher number %d: want a name, such as kafka", i+1)
		}
	}
	c.Policies = policies(r.Policy, f)
	return c
}

func policies(flags []string, f *faults) map[string]middleware.RetryPolicy {
	list := map[string]middleware.RetryPolicy{}
	for _, text := range flags {
		name, policy, err := parsePolicy(text)
		if err != nil {
			f.add("--policy %s: %w", text, err)
		}
		list[name] = policy
	}
	return list
}

func parsePolicy(text string) (name string, p middleware.RetryPolicy, err error) {
	name, values, named := strings.Cut(text, "=")
	if name == "" || !named {
		return "", p, errors.New("want NAME=ATTEMPTS,INITIAL,MULTIPLIER,MAX, such as slow=3,1m,2,1h")
	}
	p, err = config.ParsePolicy(values)
	return name, p, err
}

// maxRoutingFile is what is read of a file; the router refuses one that is longer than 16 MiB.
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

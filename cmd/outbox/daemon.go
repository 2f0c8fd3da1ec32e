package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/adapters"
	_ "github.com/bento-outbox/watermill-outbox/adapters/console" // console://
	_ "github.com/bento-outbox/watermill-outbox/adapters/http"    // http://, https://
	_ "github.com/bento-outbox/watermill-outbox/adapters/kafka"   // kafka://
	_ "github.com/bento-outbox/watermill-outbox/adapters/redis"   // redis://, rediss://
	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// daemon is what run needs, before anything is connected.
type daemon struct {
	target     database
	publishers map[string]message.Publisher
	routes     routes
	log        log
}

// prepare checks everything that needs no database or broker. The caller closes the daemon, also after an error.
func (s *session) prepare(ctx context.Context) (daemon, error) {
	d := daemon{target: s.database(), log: s.log}
	if s.config.Listen && d.target.dialect == schema.SQLite {
		s.faults.Add("%s: SQLite has no notifications; leave it out", s.place("listen"))
	}
	_ = tracingEndpoint(&s.faults)
	d.target.pool = daemonPool(s.config.Database)
	d.publishers = s.publishers(ctx)
	d.routes = s.routes()
	return d, s.faults.Err()
}

func (d daemon) close() {
	for name, publisher := range d.publishers {
		if err := publisher.Close(); err != nil {
			d.log.Error("Cannot close a destination", slog.String("destination", name), slog.Any("error", err))
		}
	}
}

// publishers opens the destinations by name. Opening does not connect to a broker.
func (s *session) publishers(ctx context.Context) map[string]message.Publisher {
	open := map[string]message.Publisher{}
	for _, name := range slices.Sorted(maps.Keys(s.config.ByName)) {
		place := s.place("destinations." + name)
		publisher, err := adapters.Open(ctx, s.config.ByName[name], s.log.watermill)
		switch {
		case errors.Is(err, adapters.ErrUnknownScheme):
			scheme, _, _ := strings.Cut(s.config.ByName[name], "://")
			s.faults.Add("%s: unknown scheme %q; known are %s. To use any other Watermill publisher, write a program of your own: see \"A broker of your own\" in docs/configuration.md",
				place, strings.ToLower(scheme), strings.Join(adapters.Schemes(), ", "))
		case err != nil:
			s.faults.Add("%s: %w", place, err)
		default:
			open[name] = publisher
		}
	}
	if len(s.config.ByName) == 0 && !slices.ContainsFunc(s.faults.Faults, ofDestination) {
		s.faults.Add("no destination: set --to URL, or --destination NAME=URL once or more, BENTO_OUTBOX_TO, or destinations in the file of --config")
	}
	if name, _, named := strings.Cut(s.config.PoisonDestination, "://"); named && len(open) > 0 && open[name] == nil {
		s.faults.Add("%s: there is no destination %q; there are %s", s.place("poison_destination"), name,
			strings.Join(slices.Sorted(maps.Keys(open)), ", "))
	}
	return open
}

// ofDestination reports whether a fault is one of a destination's settings.
func ofDestination(f config.Fault) bool {
	return f.Setting == "to" || f.Setting == "destinations" || f.Setting == "redis_url"
}

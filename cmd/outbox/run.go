package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/adapters"
	_ "github.com/bento-outbox/watermill-outbox/adapters/console" // console://
	_ "github.com/bento-outbox/watermill-outbox/adapters/http"    // http://, https://
	_ "github.com/bento-outbox/watermill-outbox/adapters/kafka"   // kafka://
	_ "github.com/bento-outbox/watermill-outbox/adapters/redis"   // redis://, rediss://
	"github.com/bento-outbox/watermill-outbox/forwarder"
	"github.com/bento-outbox/watermill-outbox/router"
)

type runCommand struct {
	databaseFlags
	To            string   `placeholder:"URL" help:"Where events go that name no destination, such as console://stdout, kafka://host:9092 or redis://host:6379. The same as --destination default=URL."`
	Destination   []string `sep:"none" placeholder:"NAME=URL" help:"A destination that events name as NAME://topic. Repeat it for several; the one named default gets what names none, or the only one."`
	Routes        string   `placeholder:"FILE" help:"A routes file, YAML or JSON, for events that carry no routing of their own."`
	Policy        []string `sep:"none" placeholder:"NAME=ATTEMPTS,INITIAL,MULTIPLIER,MAX" help:"A retry policy of your own, such as slow=3,1m,2,1h. Repeat it for several."`
	Group         string   `default:"default" placeholder:"NAME" help:"Forwarders of one group share the work."`
	Tenants       []string `placeholder:"ID" help:"Forward events of these tenants only."`
	Topics        []string `placeholder:"TOPIC" help:"Forward events of these topics only."`
	BatchSize     string   `default:"1000" placeholder:"N" help:"Events read at once (1000)."`
	MaxConcurrent string   `default:"1000" placeholder:"N" help:"Events in flight (1000)."`
	Lease         string   `default:"30s" placeholder:"DURATION" help:"How long the share of a forwarder that died waits for others (30s)."`
	Once          bool     `help:"Forward what is there, and exit. What waits for a later attempt stays."`
}

// Run forwards until a signal comes, or with --once until nothing is left.
func (c *runCommand) Run(s *session) error {
	target := c.check(&s.faults)
	config := forwarder.Config{Subscriber: forwarder.SubscriberConfig{
		Schema:        target.tables,
		Group:         c.Group,
		Tenants:       c.Tenants,
		Topics:        c.Topics,
		BatchSize:     s.faults.number("--batch-size", c.BatchSize, 1, 100_000),
		MaxConcurrent: s.faults.number("--max-concurrent", c.MaxConcurrent, 1, 100_000),
		Lease:         s.faults.duration("--lease", c.Lease, time.Second),
	}}
	ctx, stop := interruptible(context.Background())
	defer stop()
	publishers := c.publishers(ctx, s)
	defer func() {
		for name, publisher := range publishers {
			if err := publisher.Close(); err != nil {
				s.log.Error("Cannot close a destination", slog.String("destination", name), slog.Any("error", err))
			}
		}
	}()
	table := c.table(s, slices.Sorted(maps.Keys(publishers)))
	if err := s.faults.err(); err != nil {
		return err
	}
	config.Routes = table

	db, err := target.open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	f, err := forwarder.New(ctx, db, publishers, config, s.log.watermill)
	if err != nil {
		return target.explain(err)
	}
	s.log.Info("Forwarding", slog.String("database", target.name), slog.Any("destinations", slices.Sorted(maps.Keys(publishers))),
		slog.String("group", c.Group))
	quiet := context.AfterFunc(ctx, func() {
		s.log.Info("Stopping when what is in flight has ended; signal again to exit at once")
	})
	defer quiet()
	forward := f.Run
	if c.Once {
		forward = f.Drain
	}
	err = forward(ctx)
	switch {
	case ctx.Err() != nil && c.Once:
		return errors.New("interrupted before everything was forwarded; what was in flight is written down, and the rest is still there")
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		err = nil
	}
	if err != nil {
		return target.explain(err)
	}
	s.log.Info("Stopped; what was in flight is written down")
	return nil
}

// table compiles the routes file, whose destinations must be there. An event whose own routing names one that is not is dead for that one
// alone.
func (c *runCommand) table(s *session, publishers []string) *router.Table {
	cfg := router.Config{Policies: policies(c.Policy, &s.faults)}
	if c.Routes != "" {
		text, err := s.readRouting(c.Routes)
		if err == nil {
			cfg.Routes, err = router.ParseRoutes(text)
		}
		if err == nil && len(publishers) > 0 {
			err = cfg.Routes.Validate(router.Config{Policies: cfg.Policies, Publishers: publishers})
		}
		if err != nil {
			s.faults.add("--routes %s: %w", c.Routes, err)
			return nil
		}
	}
	table, err := router.NewTable(cfg)
	if err != nil && len(s.faults) == 0 { // policies that are wrong are reported already
		s.faults.add("--routes %s: %w", c.Routes, err)
	}
	return table
}

// publishers opens the destinations by name. None of them needs a broker that runs already.
func (c *runCommand) publishers(ctx context.Context, s *session) map[string]message.Publisher {
	open := map[string]message.Publisher{}
	add := func(flag, name, url string) {
		if _, taken := open[name]; taken {
			s.faults.add("%s: there are two destinations named %q", flag, name)
			return
		}
		publisher, err := adapters.Open(ctx, url, s.log.watermill)
		switch {
		case errors.Is(err, adapters.ErrUnknownScheme):
			s.faults.add("%s: unknown scheme; known are %s", flag, strings.Join(adapters.Schemes(), ", "))
		case err != nil:
			s.faults.add("%s: %w", flag, err)
		default:
			open[name] = publisher
		}
	}
	if c.To != "" {
		add("--to", "default", c.To)
	}
	for i, text := range c.Destination {
		name, url, found := strings.Cut(text, "=")
		switch {
		case !found || name == "" || strings.ContainsAny(name, ":/@"):
			// Not quoted: without a name in front it is a URL, which may hold a password.
			s.faults.add("--destination number %d: want NAME=URL, such as kafka=kafka://localhost:9092", i+1)
		default:
			add(fmt.Sprintf("--destination %s", name), name, url)
		}
	}
	if c.To == "" && len(c.Destination) == 0 {
		s.faults.add("no destination: set --to URL, or --destination NAME=URL once or more")
	}
	return open
}

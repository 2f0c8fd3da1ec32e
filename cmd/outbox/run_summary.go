package main

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"

	"github.com/bento-outbox/watermill-outbox/internal/redact"
)

// summary returns the attributes of the first line in the log of run: source, destinations, routes, group and filters.
func (s *session) summary(d daemon) []any {
	destinations := make([]any, 0, len(s.config.ByName))
	for _, name := range slices.Sorted(maps.Keys(s.config.ByName)) {
		destinations = append(destinations, slog.String(name, redact.URL(s.config.ByName[name])))
	}
	all := func(list []string) any {
		if len(list) == 0 {
			return "all"
		}
		return list
	}
	clean := "off"
	if cfg, on := s.config.Cleaner(); on {
		clean = cmp.Or(cfg.At, "every "+cfg.Every.String())
	}
	names := d.target.tables.Names
	list := []any{
		slog.String("database", d.target.name), slog.Group("destinations", destinations...), slog.String("routes", cmp.Or(d.routes.file, "none")),
		slog.String("group", s.config.Group), slog.Any("tenants", all(s.config.Tenants)), slog.Any("topics", all(s.config.Topics)),
		slog.String("profile", cmp.Or(s.config.Profile, "none")), slog.String("cleanup", clean), slog.String("version", version()),
	}
	for _, set := range []struct{ key, text string }{
		{"schema", names.Schema}, {"table_prefix", names.Prefix},
		{"default_destination", s.config.DefaultDestination}, {"poison_destination", s.config.PoisonDestination},
	} {
		if set.text != "" {
			list = append(list, slog.String(set.key, set.text))
		}
	}
	return list
}

package router

import (
	"strconv"
	"strings"
)

// Routes are static routes in the order in which they are tried.
type Routes struct {
	Version string // the routing_version of their plans
	Routes  []Route

	at []place // of each route in its file
}

// place are the JSON pointers of a route and of its config.
type place struct{ route, config string }

// Route is the config for events of some topics.
type Route struct {
	// Topic is a pattern of segments separated by dots, in which * matches one segment and ** any number of segments.
	Topic string
	// Name identifies the route in plans. Defaults to Topic.
	Name string
	// Config is the JSON of a [RoutingConfig]. Its authors are trusted: it can use When.
	Config string
}

// static are compiled routes.
type static struct {
	plans    []*Plan
	patterns []pattern
	exact    map[string]int   // the first route of a topic without stars
	literal  map[anchor][]int // routes with stars, by their first literal segment when only * stand before it
	starred  []int            // the other routes with stars
}

// anchor is a literal segment at its position.
type anchor struct {
	position int
	segment  string
}

func compileRoutes(r *reader, routes Routes, set settings) *static {
	s := &static{exact: make(map[string]int), literal: make(map[anchor][]int)}
	names := make(map[string]bool)
	for i, route := range routes.Routes {
		at := place{route: "/routes/" + strconv.Itoa(i)}
		at.config = at.route + "/config"
		if i < len(routes.at) {
			at = routes.at[i]
		}
		p, err := parsePattern(route.Topic)
		if err != nil {
			r.Add(at.route+"/topic", "%s", err)
		}
		if route.Name != "" && names[route.Name] {
			r.Add(at.route+"/name", "route name %.200q is used twice", route.Name)
		}
		names[route.Name] = true
		plan := r.compile(route.Config, at.config, set)
		s.patterns, s.plans = append(s.patterns, p), append(s.plans, plan)
		if plan == nil || p == nil || plan.empty() {
			continue
		}
		if plan.Version, plan.Route = routes.Version, route.Name; plan.Route == "" {
			plan.Route = route.Topic
		}
		if p.exact() {
			if _, taken := s.exact[route.Topic]; !taken {
				s.exact[route.Topic] = i
			}
			continue
		}
		position := 0
		for position < len(p) && p[position] == "*" {
			position++
		}
		if position == len(p) || p[position] == "**" {
			s.starred = append(s.starred, i)
			continue
		}
		key := anchor{position, p[position]}
		s.literal[key] = append(s.literal[key], i)
	}
	return s
}

// find returns the plan of the first route, in their order, that matches topic, or nil.
func (s *static) find(topic string) *Plan {
	best := len(s.plans)
	if i, ok := s.exact[topic]; ok {
		best = i
	}
	segments := strings.Split(topic, ".")
	best = s.first(s.starred, segments, best)
	for position, segment := range segments {
		best = s.first(s.literal[anchor{position, segment}], segments, best)
	}
	if best == len(s.plans) {
		return nil
	}
	return s.plans[best]
}

// first returns the first candidate that matches, or best when that is earlier.
func (s *static) first(candidates []int, topic []string, best int) int {
	for _, i := range candidates {
		if i >= best {
			break
		}
		if s.patterns[i].matches(topic) {
			return i
		}
	}
	return best
}

// Validate returns an [InvalidConfigError] with everything that is wrong with r under cfg, ignoring cfg.Routes.
func (r Routes) Validate(cfg Config) error {
	read := &reader{}
	compileRoutes(read, r, trusted(&cfg))
	return read.err()
}

package router

import (
	"slices"
	"strconv"
	"strings"
)

// Routes are static routes, in the order in which they are tried.
type Routes struct {
	Version string // the routing_version that plans carry
	Routes  []Route

	at []place // of the routes in their file
}

// place are the JSON pointers of a route and of its config.
type place struct{ route, config string }

// Route gives the events of some topics a config.
type Route struct {
	// Topic is a pattern: segments between dots, where * stands for one segment and ** for any number of them, none included.
	Topic string
	// Name is what plans call the route. Defaults to Topic.
	Name string
	// Config is the JSON of a [RoutingConfig]. Its authors are trusted: `when` is allowed.
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

func compileRoutes(d *decoder, routes Routes, r settings) *static {
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
			d.Add(at.route+"/topic", "%s", err)
		}
		if route.Name != "" && names[route.Name] {
			d.Add(at.route+"/name", "route name %.200q is used twice", route.Name)
		}
		names[route.Name] = true
		plan, err := compile(route.Config, at.config, r)
		d.addAll(at.config, err)
		s.patterns, s.plans = append(s.patterns, p), append(s.plans, plan)
		if err != nil || p == nil || plan.empty() {
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

var routeKeys = []string{"topic", "name", "config"}
var fileKeys = []string{"routing_version", "routes"}

// routes reads a routes file: a list of routes, or an object with the list and a version, or one routing config for all
// topics.
func (d *decoder) routes(n *node) Routes {
	var out Routes
	if n != nil && !n.has("routes") && slices.ContainsFunc(configKeys, n.has) {
		return Routes{Routes: []Route{{Topic: "**", Config: n.raw}}, at: []place{{n.pointer, n.pointer}}}
	}
	list := n
	if n != nil && n.kind == "an object" {
		list = nil
		d.object(n, "a routes file", fileKeys, func(key string, val *node) {
			switch {
			case key == "routes":
				list = val
			case val.kind == "a number":
				out.Version = val.raw
			default:
				out.Version = d.filled(val)
			}
		})
		if list == nil {
			d.Add(n.pointer, `has no "routes"`)
		}
	}
	if list == nil {
		return out
	}
	for _, elem := range d.array(list) {
		var r Route
		d.object(elem, "a route", routeKeys, func(key string, val *node) {
			switch key {
			case "topic":
				r.Topic = d.filled(val)
			case "name":
				r.Name = d.filled(val)
			case "config":
				r.Config = val.raw
			}
		})
		if elem.kind == "an object" {
			for _, key := range []string{"topic", "config"} {
				if !elem.has(key) {
					d.Add(elem.pointer, "has no %q", key)
				}
			}
		}
		out.Routes, out.at = append(out.Routes, r), append(out.at, place{elem.pointer, elem.pointer + "/config"})
	}
	return out
}

// Validate reports all that is wrong with r under cfg, whose own Routes are not looked at. The error is an [InvalidConfigError].
func (r Routes) Validate(cfg Config) error {
	d := &decoder{limits: cfg.Limits.withDefaults()}
	compileRoutes(d, r, trusted(&cfg))
	return d.err()
}

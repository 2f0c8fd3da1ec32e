package router

import (
	"bytes"
	"slices"

	"github.com/bento-outbox/watermill-outbox/internal/rules/jsontext"
)

// ParseRoutes parses a routes file, in JSON or YAML:
//
//	routing_version: "2025-03"
//	routes:
//	  - topic: orders.*
//	    name: orders
//	    config:
//	      targets:
//	        - destination: kafka://orders
//
// The file may also be the list of routes alone, or one [RoutingConfig], which becomes the route of every topic. Unknown and duplicate keys are
// faults. The error is an [InvalidConfigError] with all faults of the form; [Routes.Validate] and [NewTable] check the values.
func ParseRoutes(file []byte) (Routes, error) {
	r := &reader{limits: Limits{ConfigSize: maxFileSize, Nodes: maxFileNodes}}
	r.limits = r.limits.withDefaults()
	if len(file) > maxFileSize {
		r.Add("", "is %d bytes long, more than %d", len(file), maxFileSize)
		return Routes{}, r.err()
	}
	text := bytes.TrimSpace(file)
	if len(text) == 0 || text[0] != '{' && text[0] != '[' {
		if text = r.fromYAML(file); text == nil {
			return Routes{}, r.err()
		}
	}
	routes := r.routes(r.parse(string(text), ""))
	return routes, r.err()
}

var (
	routeKeys = []string{"topic", "name", "config"}
	fileKeys  = []string{"routing_version", "routes"}
)

// routes reads a list of routes, an object with the list and a version, or one routing config for all topics.
func (r *reader) routes(v value) Routes {
	var out Routes
	if !v.has("routes") && slices.ContainsFunc(configKeys, v.has) {
		return Routes{Routes: []Route{{Topic: "**", Config: v.raw}}, at: []place{{v.at, v.at}}}
	}
	list := v
	if v.kind() == jsontext.Object {
		list = value{}
		r.object(v, "a routes file", fileKeys, func(key string, v value) {
			switch {
			case key == "routes":
				list = v
			case v.kind() == jsontext.Number:
				out.Version = v.raw
			default:
				out.Version = r.filled(v)
			}
		})
		if list.raw == "" {
			r.Add(v.at, `has no "routes"`)
		}
	}
	if list.raw == "" {
		return out
	}
	for _, v := range r.array(list) {
		var route Route
		r.object(v, "a route", routeKeys, func(key string, v value) {
			switch key {
			case "topic":
				route.Topic = r.filled(v)
			case "name":
				route.Name = r.filled(v)
			case "config":
				route.Config = v.raw
			}
		})
		for _, key := range []string{"topic", "config"} {
			if v.kind() == jsontext.Object && !v.has(key) {
				r.Add(v.at, "has no %q", key)
			}
		}
		out.Routes, out.at = append(out.Routes, route), append(out.at, place{v.at, v.at + "/config"})
	}
	return out
}

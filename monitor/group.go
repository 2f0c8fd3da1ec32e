package monitor

import (
	"cmp"
	"slices"
	"strings"

	"github.com/bento-outbox/watermill-outbox/admin"
	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// grouped puts the counts of a name together. It names the top ones with the most open, and adds up the rest.
func grouped(counts []store.Count, top int) []Group {
	byName := map[string]*Group{}
	for _, c := range counts {
		name := printable(c.Name)
		g := byName[name]
		if g == nil {
			g = &Group{Name: name}
			byName[name] = g
		}
		*g.Totals.of(c.State) += c.Count
		if c.State != store.Dead && c.State != store.Skipped {
			g.OldestSeconds = max(g.OldestSeconds, c.Oldest.Seconds())
		}
	}
	list := make([]Group, 0, len(byName))
	for _, g := range byName {
		list = append(list, *g)
	}
	slices.SortFunc(list, func(a, b Group) int {
		if a.Name == Others || b.Name == Others { // somebody is called so
			return cmp.Compare(number(a.Name == Others), number(b.Name == Others))
		}
		return cmp.Or(cmp.Compare(b.Totals.Open(), a.Totals.Open()), cmp.Compare(b.Totals.Dead, a.Totals.Dead),
			cmp.Compare(b.Totals.Skipped, a.Totals.Skipped), cmp.Compare(a.Name, b.Name))
	})
	if len(list) <= top {
		return list
	}
	others := Group{Name: Others}
	for _, g := range list[top:] {
		g.Totals.each(func(state store.State, n int64) { *others.Totals.of(state) += n })
		others.OldestSeconds = max(others.OldestSeconds, g.OldestSeconds)
	}
	return append(list[:top:top], others)
}

// UnreachableBy returns why a destination cannot be reached, for itself or for its publisher, or nil.
func (s Snapshot) UnreachableBy(destination string) *Unreachable {
	for i, c := range s.Unreachable {
		if s.covers(c.Name, destination) {
			return &s.Unreachable[i]
		}
	}
	return nil
}

// covers reports whether a control of a destination, or of all of a publisher's, is about destination.
func (s Snapshot) covers(control, destination string) bool {
	if control == destination {
		return true
	}
	if publisher, whole := strings.CutSuffix(control, "://"); whole {
		name, _, named := strings.Cut(destination, "://")
		return named && name == publisher || !named && publisher == s.standard
	}
	return false
}

// heldBy returns the number of deliveries that a pause holds, as far as they are named. A destination without a topic is all of its publisher's.
func (s Snapshot) heldBy(p admin.Pause) (held int64) {
	list := s.Destinations
	if p.Kind == admin.Tenant {
		list = s.Tenants
	}
	for _, g := range list {
		if g.Name == p.Name || p.Kind != admin.Tenant && s.covers(p.Name, g.Name) {
			held += g.Totals.Held
		}
	}
	return held
}

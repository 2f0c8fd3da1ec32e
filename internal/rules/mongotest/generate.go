// Package mongotest compares the conditions of package rules with mingo, an independent implementation of MongoDB's
// query language in JavaScript.
package mongotest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

// Pair is a document and a query for it, as JSON.
type Pair struct {
	Doc   json.RawMessage `json:"doc"`
	Query json.RawMessage `json:"query"`
}

// Generator makes documents and queries that are likely to have to do with each other: few names, few values.
type Generator struct{ random *rand.Rand }

// NewGenerator returns a generator that always makes the same pairs for the same seed.
func NewGenerator(seed uint64) *Generator {
	return &Generator{rand.New(rand.NewPCG(seed, 0))}
}

// Next makes one pair. The document has a payload, and the paths of the query start there.
func (g *Generator) Next() Pair {
	return Pair{json.RawMessage(`{"payload":` + g.object(3) + `}`), json.RawMessage(g.query("payload.", 2))}
}

func (g *Generator) pick(of ...string) string { return of[g.random.IntN(len(of))] }

func (g *Generator) chance(n int) bool { return g.random.IntN(n) == 0 }

func (g *Generator) name() string { return g.pick("a", "b", "c") }

func (g *Generator) scalar() string {
	return g.pick("null", "true", "false", "0", "1", "2", "3", "-1", "1.5", "0.1", "2.0", "1e1", "10", `""`, `"a"`, `"b"`, `"ab"`, `"A"`, `"1"`, `"\u00e9"`, `"é"`)
}

func (g *Generator) value(depth int) string {
	switch n := g.random.IntN(10); {
	case depth <= 0 || n < 5:
		return g.scalar()
	case n < 8:
		return g.array(depth)
	default:
		return g.object(depth)
	}
}

func (g *Generator) array(depth int) string {
	elems := make([]string, g.random.IntN(4))
	uniform := g.chance(2)
	kind := g.random.IntN(3)
	for i := range elems {
		switch {
		case uniform && kind == 0:
			elems[i] = g.pick("0", "1", "2", "3")
		case uniform && kind == 1:
			elems[i] = g.object(depth - 1)
		default:
			elems[i] = g.value(depth - 1)
		}
	}
	return "[" + strings.Join(elems, ",") + "]"
}

func (g *Generator) object(depth int) string {
	var members []string
	for _, name := range []string{"a", "b", "c"} {
		if !g.chance(3) {
			members = append(members, fmt.Sprintf("%q:%s", name, g.value(depth-1)))
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

// query makes an object of conditions on paths that start with prefix.
func (g *Generator) query(prefix string, depth int) string {
	if depth > 0 && g.chance(5) {
		parts := make([]string, 1+g.random.IntN(2))
		for i := range parts {
			parts[i] = g.query(prefix, depth-1)
		}
		return fmt.Sprintf("{%q:[%s]}", g.pick("$and", "$or", "$nor"), strings.Join(parts, ","))
	}
	members := map[string]string{}
	for range 1 + g.random.IntN(2) {
		members[g.path(prefix)] = g.condition(depth)
	}
	var list []string
	for path, condition := range members {
		list = append(list, fmt.Sprintf("%q:%s", path, condition))
	}
	if len(list) == 2 && list[0] > list[1] {
		list[0], list[1] = list[1], list[0] // maps have no order, and the same seed must make the same pairs
	}
	return "{" + strings.Join(list, ",") + "}"
}

func (g *Generator) path(prefix string) string {
	names := []string{g.name()}
	for g.chance(2) && len(names) < 3 {
		if g.chance(4) {
			names = append(names, g.pick("0", "1", "2"))
		} else {
			names = append(names, g.name())
		}
	}
	return prefix + strings.Join(names, ".")
}

func (g *Generator) condition(depth int) string {
	if g.chance(3) {
		return g.value(1)
	}
	operators := g.operator(depth)
	if g.chance(4) {
		if other := g.operator(depth); other[:5] != operators[:5] {
			operators += "," + other
		}
	}
	return "{" + operators + "}"
}

func (g *Generator) operator(depth int) string {
	switch n := g.random.IntN(14); {
	case n < 6:
		return fmt.Sprintf("%q:%s", g.pick("$eq", "$ne", "$gt", "$gte", "$lt", "$lte"), g.value(1))
	case n < 8:
		values := make([]string, g.random.IntN(4))
		for i := range values {
			values[i] = g.value(1)
		}
		return fmt.Sprintf("%q:[%s]", g.pick("$in", "$nin", "$all"), strings.Join(values, ","))
	case n == 8:
		return `"$exists":` + g.pick("true", "false")
	case n == 9:
		return `"$size":` + g.pick("0", "1", "2")
	case n == 10:
		return `"$regex":` + g.pick(`"a"`, `"^a"`, `"b$"`, `"^$"`, `"."`) + g.pick("", `,"$options":"i"`)
	case n == 11 && depth > 0:
		return `"$not":{` + g.operator(depth-1) + "}"
	case n >= 12 && depth > 0:
		if g.chance(2) {
			return `"$elemMatch":{` + g.operator(depth-1) + "}"
		}
		return `"$elemMatch":` + g.query("", depth-1)
	}
	return `"$eq":` + g.scalar()
}

package mongotest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// missing is the value that a path leads to where there is none.
type missing struct{}

// Reference reports what MongoDB's server, version 8, says to a pair. It is the server's rules written down plainly: it collects all the
// values that a path leads to and then asks the operator of each. It knows what the generator makes, where objects have their fields in the
// order of their names.
func Reference(p Pair) bool {
	var doc, query any
	for text, v := range map[*json.RawMessage]*any{&p.Doc: &doc, &p.Query: &query} {
		dec := json.NewDecoder(bytes.NewReader(*text))
		dec.UseNumber()
		if err := dec.Decode(v); err != nil {
			panic(err)
		}
	}
	return matches(doc, query.(map[string]any))
}

// matches asks the document doc, which is an array inside $elemMatch when the element is one.
func matches(doc any, query map[string]any) bool {
	for key, val := range query {
		met := false
		switch key {
		case "$and", "$or", "$nor":
			count := 0
			for _, part := range val.([]any) {
				if matches(doc, part.(map[string]any)) {
					count++
				}
			}
			met = key == "$and" && count == len(val.([]any)) || key == "$or" && count > 0 || key == "$nor" && count == 0
		default:
			met = holds(val, func(whole bool) []any { return fromDocument(doc, strings.Split(key, "."), whole) })
		}
		if !met {
			return false
		}
	}
	return true
}

// holds asks all the operators of a condition of the values that reach returns.
func holds(condition any, reach func(whole bool) []any) bool {
	operators, ok := condition.(map[string]any)
	if !ok || !isOperators(operators) {
		operators = map[string]any{"$eq": condition}
	}
	for op, operand := range operators {
		if op != "$options" && !holdsOne(op, operand, operators["$options"], reach) {
			return false
		}
	}
	return true
}

func holdsOne(op string, operand, options any, reach func(whole bool) []any) bool {
	some := func(whole bool, test func(v any) bool) bool { return slices.ContainsFunc(reach(whole), test) }
	switch op {
	case "$not":
		return !holds(operand, reach)
	case "$ne":
		return !holdsOne("$eq", operand, nil, reach)
	case "$nin":
		return !holdsOne("$in", operand, nil, reach)
	case "$exists":
		return operand == some(false, func(v any) bool { return v != missing{} })
	case "$in":
		return slices.ContainsFunc(operand.([]any), func(o any) bool { return holdsOne("$eq", o, nil, reach) })
	case "$all":
		for _, o := range operand.([]any) {
			if !holdsOne("$eq", o, nil, reach) {
				return false
			}
		}
		return len(operand.([]any)) > 0
	case "$size":
		return some(true, func(v any) bool {
			list, ok := v.([]any)
			return ok && strconv.Itoa(len(list)) == operand.(json.Number).String()
		})
	case "$regex":
		flags := ""
		if options != nil {
			flags = "(?" + options.(string) + ")"
		}
		re := regexp.MustCompile(flags + operand.(string))
		return some(false, func(v any) bool {
			text, ok := v.(string)
			return ok && re.MatchString(text)
		})
	case "$elemMatch":
		return some(true, func(v any) bool {
			list, _ := v.([]any)
			return slices.ContainsFunc(list, func(elem any) bool { return elementMatches(elem, operand) })
		})
	}
	return some(false, func(v any) bool { return compares(op, v, operand) })
}

func elementMatches(elem, operand any) bool {
	if !asksForFields(operand) {
		return holds(operand, func(bool) []any { return []any{elem} })
	}
	switch elem.(type) {
	case map[string]any, []any:
		return matches(elem, operand.(map[string]any))
	}
	return false
}

// compares is $eq, $gt, $gte, $lt or $lte of one value. Values of different types are neither less nor more, but null is missing.
func compares(op string, v, operand any) bool {
	c := compare(v, operand)
	if rank(v) != rank(operand) {
		return rank(v) <= 1 && rank(operand) <= 1 && op != "$gt" && op != "$lt"
	}
	switch op {
	case "$gt":
		return c > 0
	case "$gte":
		return c >= 0
	case "$lt":
		return c < 0
	case "$lte":
		return c <= 0
	}
	return c == 0
}

// rank orders the types.
func rank(v any) int {
	switch v.(type) {
	case missing:
		return 0
	case nil:
		return 1
	case json.Number:
		return 2
	case string:
		return 3
	case map[string]any:
		return 4
	case []any:
		return 5
	}
	return 6
}

func compare(a, b any) int {
	if c := cmp.Compare(rank(a), rank(b)); c != 0 {
		return c
	}
	switch a := a.(type) {
	case json.Number:
		x, _ := a.Float64()
		y, _ := b.(json.Number).Float64()
		return cmp.Compare(x, y)
	case string:
		return cmp.Compare(a, b.(string))
	case bool:
		return cmp.Compare(strconv.FormatBool(a), strconv.FormatBool(b.(bool)))
	case []any:
		return slices.CompareFunc(a, b.([]any), compare)
	case map[string]any:
		return slices.CompareFunc(fields(a), fields(b.(map[string]any)), func(x, y field) int {
			return cmp.Or(cmp.Compare(rank(x.value), rank(y.value)), cmp.Compare(x.name, y.name), compare(x.value, y.value))
		})
	}
	return 0
}

type field struct {
	name  string
	value any
}

func fields(object map[string]any) []field {
	var list []field
	for name, val := range object {
		list = append(list, field{name, val})
	}
	slices.SortFunc(list, func(a, b field) int { return cmp.Compare(a.name, b.name) })
	return list
}

// fromDocument returns all the values that path leads to. An array that is a document has fields named by its indexes.
func fromDocument(doc any, path []string, whole bool) []any {
	list, ok := doc.([]any)
	if !ok {
		return along(doc, path, whole)
	}
	object := map[string]any{}
	for i, elem := range list {
		object[strconv.Itoa(i)] = elem
	}
	return along(object, path, whole)
}

// along follows names through objects, to the first array. At the end of the path, an array leads to its elements too unless it is asked for
// as a whole.
func along(v any, path []string, whole bool) []any {
	for i, name := range path {
		switch at := v.(type) {
		case map[string]any:
			var ok bool
			if v, ok = at[name]; !ok {
				v = missing{}
			}
		case []any:
			return through(at, path[i:], whole)
		default:
			return []any{missing{}}
		}
	}
	if list, ok := v.([]any); ok && !whole {
		return append(slices.Clone(list), v)
	}
	return []any{v}
}

// through follows path through the elements of list: as names in those that are objects, and as an index.
func through(list []any, path []string, whole bool) []any {
	var found []any
	for i, elem := range list {
		object, isObject := elem.(map[string]any)
		if isObject {
			found = append(found, along(object, path, whole)...)
		}
		if path[0] != strconv.Itoa(i) {
			continue
		}
		inner, isArray := elem.([]any)
		switch {
		case len(path) == 1:
			found = append(found, elem)
		case isObject:
			found = append(found, along(object, path[1:], whole)...)
		case isArray:
			found = append(found, through(inner, path[1:], whole)...)
		}
	}
	return found
}

package mongotest

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// Difference is a way in which mingo departs from MongoDB's server, whose matcher the conditions follow.
type Difference struct {
	Name, Why  string
	Doc, Query string // an example: of these mingo says the opposite of Ours
	Ours       bool

	applies func(l Leaf) bool
}

// Leaf is one operator on one path, and the document that it looks at.
type Leaf struct {
	Doc      any
	Path     []string // starts with payload
	Op       string
	Operand  any
	query    json.RawMessage // {"payload.a": {op: operand}}
	document json.RawMessage
}

// Differences lists all there are. The operators and paths that it does not name agree on every generated pair.
var Differences = []Difference{
	{
		Name: "nothing found in an array is no empty array",
		Why: "mingo collects what a name finds in the elements of an array into a new array, and compares that: where no element has the field it " +
			"is empty, equals [] and is not missing. MongoDB tests each value that is found, and there is none.",
		Doc: `{"a":[1,2]}`, Query: `{"payload.a.b":[]}`, Ours: false,
		applies: func(l Leaf) bool {
			_, list := l.Operand.([]any)
			return throughArray(l) && (l.Op == "$exists" || l.Op == "$size" || list)
		},
	},
	{
		Name: "an element without the field is null",
		Why:  "mingo drops elements that lack the field. In MongoDB they count as missing, which equals null.",
		Doc:  `{"a":[{"b":1},{"c":2}]}`, Query: `{"payload.a.b":null}`, Ours: true,
		applies: func(l Leaf) bool { return throughArray(l) && hasNull(l.Operand) },
	},
	{
		Name: "what is found in several elements is not one array",
		Why: "mingo tests $elemMatch, $size and $all on the array that it collected. In MongoDB the field of one element must be an array, or match, by " +
			"itself.",
		Doc: `{"a":[{"b":1},{"b":2}]}`, Query: `{"payload.a.b":{"$elemMatch":{"$gt":1}}}`, Ours: false,
		applies: func(l Leaf) bool {
			return throughArray(l) && (l.Op == "$elemMatch" || l.Op == "$size" || l.Op == "$all")
		},
	},
	{
		Name: "$elemMatch on fields wants objects",
		Why:  "mingo takes an element that is a scalar for the value of every path. In MongoDB only elements that are objects or arrays have fields.",
		Doc:  `{"a":[1]}`, Query: `{"payload.a":{"$elemMatch":{"b":{"$lt":2}}}}`, Ours: false,
		applies: func(l Leaf) bool {
			for _, elem := range elements(l.Doc) {
				switch elem.(type) {
				case []any, map[string]any:
				default:
					return l.Op == "$elemMatch" && asksForFields(l.Operand)
				}
			}
			return false
		},
	},
	{
		Name: "arrays inside arrays are elements",
		Why: "mingo flattens arrays as deep as the path has dots, and looks for names in arrays of arrays. MongoDB tests the elements of an array and the " +
			"array itself, not the elements of its elements.",
		Doc: `{"a":[[1]]}`, Query: `{"payload.a":1}`, Ours: false,
		applies: func(l Leaf) bool { return arraysInArrays(l) },
	},
	{
		Name: "an index is tried beside a name",
		Why: "mingo takes a number for an index where there is an element, and for a missing value else. In MongoDB it is both an index and a name in each " +
			"element that is an object, and one that leads nowhere finds nothing: no null either.",
		Doc: `{"a":[]}`, Query: `{"payload.a.1":null}`, Ours: false,
		applies: indexed,
	},
	{
		Name: "arrays are ordered as they are, objects by their fields in order",
		Why: "mingo sorts the elements of an array and the keys of an object before it compares them, compares keys before values, and does not compare an " +
			"array as a whole. MongoDB compares pair by pair.",
		Doc: `{"a":{"b":2}}`, Query: `{"payload.a":{"$gt":{"b":1,"c":1}}}`, Ours: true,
		applies: func(l Leaf) bool {
			switch l.Operand.(type) {
			case []any, map[string]any:
				return isOrder(l.Op)
			}
			return false
		},
	},
	{
		Name: "$gte and $lte null match a missing field",
		Why:  "In MongoDB null and missing are equal, and so neither less nor more. mingo tells them apart here, though not in an equality.",
		Doc:  `{}`, Query: `{"payload.a":{"$gte":null}}`, Ours: true,
		applies: func(l Leaf) bool { return isOrder(l.Op) && l.Operand == nil },
	},
	{
		Name: "$all takes a scalar",
		Why:  "In MongoDB {$all: [x]} is {$and: [{$eq: x}]}, so a value that is no array matches it, and so does an array as a whole.",
		Doc:  `{"a":5}`, Query: `{"payload.a":{"$all":[5]}}`, Ours: true,
		applies: func(l Leaf) bool {
			return l.Op == "$all"
		},
	},
	{
		Name: "$in finds a whole array",
		Why:  "mingo looks for the elements only. In MongoDB $in is $eq for each of its values, and an array equals itself.",
		Doc:  `{"a":[1]}`, Query: `{"payload.a":{"$in":[[1]]}}`, Ours: true,
		applies: func(l Leaf) bool {
			return (l.Op == "$in" || l.Op == "$nin") && containsArray(l.Operand)
		},
	},
	{
		Name: "objects keep the order of their fields",
		Why:  "MongoDB's objects are equal when their fields are the same in the same order. mingo does not look at the order.",
		Doc:  `{"a":{"b":1,"c":2}}`, Query: `{"payload.a":{"c":2,"b":1}}`, Ours: false,
		applies: func(Leaf) bool { return false }, // the generator makes fields in one order
	},
	{
		Name: "numbers are decimals",
		Why:  "mingo's numbers are those of JavaScript. Conditions compare what is spelled, as MongoDB does with int64 and decimal128, but without their limits.",
		Doc:  `{"a":9007199254740993}`, Query: `{"payload.a":9007199254740992}`, Ours: false,
		applies: func(Leaf) bool { return false }, // the generator makes no such numbers
	},
	{
		Name: "text is ordered by its bytes",
		Why:  "As in MongoDB without a collation. JavaScript orders by UTF-16 units, which puts characters above U+FFFF before some below.",
		Doc:  `{"a":"😀"}`, Query: `{"payload.a":{"$gt":"\uff5e"}}`, Ours: true,
		applies: func(Leaf) bool { return false }, // the generator makes no such text
	},
}

// Explain returns the difference that may make l differ, or nil.
func Explain(l Leaf) *Difference {
	for i := range Differences {
		if Differences[i].applies(l) {
			return &Differences[i]
		}
	}
	if l.Op != "$elemMatch" {
		return nil
	}
	// What differs inside $elemMatch differs for one of the elements.
	for _, elem := range elements(l.Doc) {
		doc, _ := json.Marshal(map[string]any{"payload": elem})
		for _, inner := range elemLeaves(doc, l.Operand) {
			if d := Explain(inner); d != nil {
				return d
			}
		}
	}
	return nil
}

// throughArray tells whether a name of the path is applied to an array.
func throughArray(l Leaf) bool {
	v := l.Doc
	for _, name := range l.Path {
		switch at := v.(type) {
		case map[string]any:
			v = at[name]
		case []any:
			if strings.Trim(name, "0123456789") != "" {
				return true
			}
			v = index(at, name)
		default:
			return false
		}
	}
	return false
}

// arraysInArrays reports whether an array on the path has an array in it.
func arraysInArrays(l Leaf) bool {
	v := l.Doc
	for _, name := range l.Path {
		switch at := v.(type) {
		case map[string]any:
			v = at[name]
		case []any:
			return nested(at)
		default:
			return false
		}
	}
	return nested(v)
}

// indexed reports whether a number of the path is applied to an array.
func indexed(l Leaf) bool {
	v := l.Doc
	for _, name := range l.Path {
		switch at := v.(type) {
		case map[string]any:
			v = at[name]
		case []any:
			if strings.Trim(name, "0123456789") == "" {
				return true
			}
			return slices.ContainsFunc(at, func(elem any) bool {
				_, object := elem.(map[string]any)
				return object && strings.ContainsAny(strings.Join(l.Path, ""), "0123456789")
			})
		default:
			return false
		}
	}
	return false
}

func nested(v any) bool {
	list, _ := v.([]any)
	for _, elem := range list {
		switch elem := elem.(type) {
		case []any:
			return true
		case map[string]any:
			for _, field := range elem {
				if _, ok := field.([]any); ok {
					return true
				}
			}
		}
	}
	return false
}

func index(list []any, name string) any {
	n := int(name[0] - '0')
	if n < len(list) {
		return list[n]
	}
	return nil
}

func isOrder(op string) bool { return strings.Contains("$gt $gte $lt $lte", op) }

func hasNull(v any) bool {
	list, ok := v.([]any)
	for _, elem := range list {
		if elem == nil {
			return true
		}
	}
	return !ok && v == nil
}

func containsArray(v any) bool {
	list, _ := v.([]any)
	for _, elem := range list {
		if _, ok := elem.([]any); ok {
			return true
		}
	}
	return false
}

// elements returns the elements of every array in v.
func elements(v any) []any {
	var all []any
	switch v := v.(type) {
	case []any:
		all = append(all, v...)
		for _, elem := range v {
			all = append(all, elements(elem)...)
		}
	case map[string]any:
		for _, field := range v {
			all = append(all, elements(field)...)
		}
	}
	return all
}

// Leaves takes a query apart. What is inside $elemMatch stays there.
func Leaves(doc, query json.RawMessage) []Leaf {
	var q, d any
	_ = json.Unmarshal(query, &q)
	_ = json.Unmarshal(doc, &d)
	return leaves(doc, d, q, "")
}

func leaves(doc json.RawMessage, d, q any, prefix string) []Leaf {
	var all []Leaf
	object, _ := q.(map[string]any)
	for key, val := range object {
		if strings.HasPrefix(key, "$") {
			for _, part := range val.([]any) {
				all = append(all, leaves(doc, d, part, prefix)...)
			}
			continue
		}
		all = append(all, operatorLeaves(doc, d, prefix+key, val)...)
	}
	return all
}

func operatorLeaves(doc json.RawMessage, d any, path string, condition any) []Leaf {
	var all []Leaf
	operators, ok := condition.(map[string]any)
	if !ok || !isOperators(operators) {
		operators = map[string]any{"$eq": condition}
	}
	for op, operand := range operators {
		if op == "$options" {
			continue
		}
		if op == "$not" {
			all = append(all, operatorLeaves(doc, d, path, operand)...)
			continue
		}
		single := map[string]any{op: operand}
		if options, ok := operators["$options"]; ok && op == "$regex" {
			single["$options"] = options
		}
		all = append(all, Leaf{
			Doc: d, Path: strings.Split(path, "."), Op: op, Operand: operand,
			query: marshal(map[string]any{path: single}), document: doc,
		})
	}
	return all
}

func elemLeaves(doc json.RawMessage, operand any) []Leaf {
	var d any
	_ = json.Unmarshal(doc, &d)
	if asksForFields(operand) {
		return leaves(doc, d, operand, "payload.")
	}
	return operatorLeaves(doc, d, "payload", operand)
}

// asksForFields tells whether the operand of $elemMatch is a query, not an object of operators.
func asksForFields(operand any) bool {
	query, _ := operand.(map[string]any)
	for key := range query {
		if strings.HasPrefix(key, "$") && key != "$and" && key != "$or" && key != "$nor" {
			return false
		}
	}
	return true
}

func isOperators(m map[string]any) bool {
	for key := range m {
		if strings.HasPrefix(key, "$") {
			return true
		}
	}
	return false
}

func marshal(v any) json.RawMessage {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v)
	return bytes.TrimSpace(out.Bytes())
}

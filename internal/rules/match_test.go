package rules_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/event"
	"github.com/bento-outbox/watermill-outbox/internal/fault"
	"github.com/bento-outbox/watermill-outbox/internal/rules"
)

func order(payload string) *event.Event {
	return &event.Event{
		ID: "e-1", Topic: "orders.created", TenantID: "acme", AggregateType: "order", AggregateID: "o-7",
		SchemaID: "order", SchemaVersion: "2", OccurredAt: time.Date(2025, 1, 31, 12, 0, 0, 0, time.UTC),
		Payload: []byte(payload), Metadata: message.Metadata{"source": "shop", "ce.type": "order", "empty": ""},
	}
}

// payload of the table below. The two big numbers are the same as float64.
const document = `{
	"n": 5, "d": 0.3, "big": 9007199254740993, "huge": 1e999999999, "s": "abc", "u": "caf\u00e9", "t": true, "f": false, "z": null,
	"a": [1, 2, 3], "e": [], "o": {"x": 1, "y": 2}, "nested": [[1, 2], [3, 4]],
	"items": [{"p": 10, "q": 1, "tags": ["new"]}, {"p": 20, "q": 2}, {"q": 3}],
	"a.b": {"c*d|e": 7}, "dup": 1, "dup": 2, "deep": {"er": {"est": "x"}}, "0": "zero", "mixed": [1, "1", null, {"k": 1}], "deeper": [[5, 6, 7]], "mixes": [[{"b": 1}]], "deepest": [[[1]]], "low": "\ud800", "pair": "\ud83d\ude00"
}`

func TestConditions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, conditions string
		want             bool
	}{
		{"empty", `{}`, true},
		{"equal", `{"payload.n": 5}`, true},
		{"equal spelled otherwise", `{"payload.n": 50e-1}`, true},
		{"not equal", `{"payload.n": 6}`, false},
		{"$eq", `{"payload.s": {"$eq": "abc"}}`, true},
		{"escapes are the same text", `{"payload.u": "café"}`, true},
		{"a lone surrogate is itself", `{"payload.low": "\ud800"}`, true},
		{"a lone surrogate is no other", `{"payload.low": {"$in": ["\udfff", "\ufffd", "\ud801"]}}`, false},
		{"surrogates come before what follows them", `{"payload.low": {"$lt": "\ue000", "$gt": "\ud7ff"}}`, true},
		{"a pair of surrogates is a character", `{"payload.pair": "😀"}`, true},
		{"escapes in the condition", `{"payload.\u0073": "\u0061bc"}`, true},
		{"boolean", `{"payload.t": true, "payload.f": false}`, true},
		{"a string is no number", `{"payload.n": "5"}`, false},
		{"a boolean is no number", `{"payload.t": 1}`, false},
		{"null is null", `{"payload.z": null}`, true},
		{"missing is null", `{"payload.nope": null}`, true},
		{"missing deep is null", `{"payload.n.x.y": null}`, true},
		{"$ne of a missing field", `{"payload.nope": {"$ne": 1}}`, true},
		{"$ne", `{"payload.n": {"$ne": 5}}`, false},
		{"$ne null", `{"payload.n": {"$ne": null}}`, true},
		{"$ne is none of the elements", `{"payload.a": {"$ne": 2}}`, false},

		{"big integers are exact", `{"payload.big": 9007199254740992}`, false},
		{"big integers are equal to themselves", `{"payload.big": 9007199254740993}`, true},
		{"$gt of big integers", `{"payload.big": {"$gt": 9007199254740992}}`, true},
		{"decimals are exact", `{"payload.d": 0.30000000000000004}`, false},
		{"decimals", `{"payload.d": 0.30}`, true},
		{"enormous exponents", `{"payload.huge": {"$gt": 1e999999998, "$lt": 1e1000000000}}`, true},
		{"$gt", `{"payload.n": {"$gt": 5}}`, false},
		{"$gte", `{"payload.n": {"$gte": 5}}`, true},
		{"$lt", `{"payload.n": {"$lt": 5.01}}`, true},
		{"$lte", `{"payload.n": {"$lte": 4.99}}`, false},
		{"$gt of text", `{"payload.s": {"$gt": "abb", "$lt": "abd"}}`, true},
		{"$gt of another type", `{"payload.s": {"$gt": 1}}`, false},
		{"$gt of a missing field", `{"payload.nope": {"$gt": 1}}`, false},
		{"$gt null", `{"payload.z": {"$gt": null}}`, false},
		{"$gte null", `{"payload.nope": {"$gte": null}}`, true},
		{"$lt of booleans", `{"payload.f": {"$lt": true}}`, true},
		{"range over several elements", `{"payload.a": {"$gt": 2, "$lt": 2}}`, true},
		{"$gt of arrays", `{"payload.a": {"$gt": [1, 2]}}`, true},
		{"$lt of objects", `{"payload.o": {"$lt": {"x": 1, "y": 3}}}`, true},

		{"$in", `{"payload.s": {"$in": ["x", "abc"]}}`, true},
		{"$in of elements", `{"payload.a": {"$in": [9, 3]}}`, true},
		{"$in of a whole array", `{"payload.a": {"$in": [[1, 2, 3]]}}`, true},
		{"$in null is missing", `{"payload.nope": {"$in": [null]}}`, true},
		{"$in of nothing", `{"payload.n": {"$in": []}}`, false},
		{"$in of mixed types", `{"payload.n": {"$in": ["5", true, {"n": 5}]}}`, false},
		{"$nin", `{"payload.s": {"$nin": ["x", "y"]}}`, true},
		{"$nin of elements", `{"payload.a": {"$nin": [2]}}`, false},
		{"$nin of a missing field", `{"payload.nope": {"$nin": [2]}}`, true},
		{"$exists", `{"payload.z": {"$exists": true}}`, true},
		{"$exists of an empty array", `{"payload.e": {"$exists": true}}`, true},
		{"$exists false", `{"payload.nope": {"$exists": false}}`, true},
		{"$exists in elements", `{"payload.items.tags": {"$exists": true}}`, true},
		{"$exists of the payload", `{"payload": {"$exists": true}}`, true},

		{"an element", `{"payload.a": 2}`, true},
		{"a whole array", `{"payload.a": [1, 2.0, 3]}`, true},
		{"arrays keep their order", `{"payload.a": [3, 2, 1]}`, false},
		{"a nested array is an element", `{"payload.nested": [1, 2]}`, true},
		{"nested arrays are not searched", `{"payload.nested": 1}`, false},
		{"an object", `{"payload.o": {"x": 1, "y": 2}}`, true},
		{"objects keep their order", `{"payload.o": {"y": 2, "x": 1}}`, false},
		{"objects have the same names", `{"payload.o": {"x": 1, "z": 2}}`, false},
		{"the empty object", `{"payload.o": {}}`, false},
		{"elements that are objects", `{"payload.items.p": 20}`, true},
		{"an element without the field is null", `{"payload.items.p": null}`, true},
		{"no element is not null", `{"payload.e.p": null}`, false},
		{"elements that are scalars have no fields", `{"payload.a.p": null}`, false},
		{"an index", `{"payload.items.1.p": 20}`, true},
		{"an index is a name that elements lack", `{"payload.items.0.p": null}`, true},
		{"an index is a name that elements lack, negated", `{"payload.items.0.p": {"$ne": null}}`, false},
		{"an index at the end", `{"payload.a.0": 1}`, true},
		{"another index", `{"payload.a.1": 1}`, false},
		{"an index beyond the end is missing", `{"payload.a.3": {"$exists": false}}`, true},
		{"an index beyond the end leads nowhere", `{"payload.a.3": null}`, false},
		{"an index beyond the end leads nowhere, but elements lack the name", `{"payload.items.3": null}`, true},
		{"an index of a scalar is a dead end", `{"payload.a.0.b": null}`, false},
		{"an index of an array reaches its elements", `{"payload.mixes.0.b": 1}`, true},
		{"a second index is not searched", `{"payload.deeper.0.0": 5}`, true},
		{"a third index", `{"payload.deepest.0.0": 1}`, false},
		{"a third index, of the array itself", `{"payload.deepest.0.0": [1]}`, true},
		{"indexes of nested arrays", `{"payload.nested.1.0": 3}`, true},
		{"an index of an object is a name", `{"payload.0": "zero"}`, true},
		{"deep", `{"payload.deep.er.est": "x"}`, true},
		{"dots, stars and pipes in a name", `{"payload.a\\.b.c*d|e": 7}`, true},
		{"of duplicate keys the first counts", `{"payload.dup": 1}`, true},
		{"of duplicate keys the second does not", `{"payload.dup": 2}`, false},

		{"$and", `{"$and": [{"payload.n": 5}, {"payload.s": "abc"}]}`, true},
		{"$and fails", `{"$and": [{"payload.n": 5}, {"payload.s": "x"}]}`, false},
		{"$or", `{"$or": [{"payload.n": 6}, {"payload.s": "abc"}]}`, true},
		{"$or fails", `{"$or": [{"payload.n": 6}, {"payload.s": "x"}]}`, false},
		{"$nor", `{"$nor": [{"payload.n": 6}, {"payload.s": "x"}]}`, true},
		{"$nor fails", `{"$nor": [{"payload.n": 5}, {"payload.s": "x"}]}`, false},
		{"$not", `{"payload.n": {"$not": {"$gt": 5}}}`, true},
		{"$not of a missing field", `{"payload.nope": {"$not": {"$gt": 5}}}`, true},
		{"$not of several", `{"payload.n": {"$not": {"$gt": 1, "$lt": 9}}}`, false},
		{"logic inside logic", `{"$or": [{"$and": [{"payload.n": 5}, {"$nor": [{"payload.s": "abc"}]}]}, {"payload.t": true}]}`, true},
		{"empty inside logic", `{"$and": [{}, {"payload.n": 5}]}`, true},

		{"$regex", `{"payload.s": {"$regex": "^a.c$"}}`, true},
		{"$regex anywhere", `{"payload.s": {"$regex": "b"}}`, true},
		{"$regex with $options", `{"payload.s": {"$regex": "^ABC$", "$options": "i"}}`, true},
		{"$regex of a number", `{"payload.n": {"$regex": "5"}}`, false},
		{"$regex of elements", `{"payload.mixed": {"$regex": "^1$"}}`, true},
		{"$not $regex", `{"payload.s": {"$not": {"$regex": "^x"}}}`, true},

		{"$all", `{"payload.a": {"$all": [3, 1]}}`, true},
		{"$all fails", `{"payload.a": {"$all": [3, 4]}}`, false},
		{"$all of a scalar", `{"payload.n": {"$all": [5]}}`, true},
		{"$all of nothing", `{"payload.a": {"$all": []}}`, false},
		{"$not $all of nothing", `{"payload.a": {"$not": {"$all": []}}}`, true},
		{"$all with $elemMatch", `{"payload.items": {"$all": [{"$elemMatch": {"p": 10}}, {"$elemMatch": {"q": 3}}]}}`, true},
		{"$elemMatch of fields", `{"payload.items": {"$elemMatch": {"p": 20, "q": 2}}}`, true},
		{"$elemMatch asks one element for all", `{"payload.items": {"$elemMatch": {"p": 10, "q": 2}}}`, false},
		{"$elemMatch of operators", `{"payload.a": {"$elemMatch": {"$gt": 1, "$lt": 3}}}`, true},
		{"$elemMatch asks one element for all operators", `{"payload.a": {"$elemMatch": {"$gt": 2, "$lt": 2}}}`, false},
		{"$elemMatch of a scalar", `{"payload.n": {"$elemMatch": {"$gt": 1}}}`, false},
		{"$elemMatch with logic", `{"payload.items": {"$elemMatch": {"$or": [{"p": 99}, {"q": 3}]}}}`, true},
		{"$elemMatch in $elemMatch", `{"payload.nested": {"$elemMatch": {"$elemMatch": {"$gt": 3}}}}`, true},
		{"$elemMatch of a path with arrays", `{"payload.items": {"$elemMatch": {"tags": "new", "tags.0": "new"}}}`, true},
		{"$elemMatch takes nested arrays by index", `{"payload.nested": {"$elemMatch": {"1": 4}}}`, true},
		{"$elemMatch $ne", `{"payload.a": {"$elemMatch": {"$ne": 1}}}`, true},
		{"$elemMatch $not", `{"payload.a": {"$elemMatch": {"$not": {"$lt": 3}}}}`, true},
		{"$elemMatch {} wants objects", `{"payload.a": {"$elemMatch": {}}}`, false},
		{"$size", `{"payload.a": {"$size": 3}}`, true},
		{"$size of nothing", `{"payload.e": {"$size": 0}}`, true},
		{"$size of a scalar", `{"payload.n": {"$size": 1}}`, false},
		{"$size of the array, not of its elements", `{"payload.deeper": {"$size": 3}}`, false},
		{"$elemMatch of the array, not of its elements", `{"payload.deeper": {"$elemMatch": {"$gt": 6}}}`, false},
		{"$size of an element's array", `{"payload.items.tags": {"$size": 1}}`, true},
		{"$size of elements", `{"payload.nested.0": {"$size": 2}}`, true},

		{"topic", `{"topic": {"$regex": "^orders\\."}}`, true},
		{"columns", `{"tenant_id": "acme", "aggregate_type": "order", "aggregate_id": "o-7", "schema_id": "order", "id": "e-1"}`, true},
		{"schema_version as text", `{"schema_version": "2"}`, true},
		{"schema_version as a number", `{"schema_version": {"$gte": 2, "$lt": 10}}`, true},
		{"schema_version in both", `{"schema_version": {"$in": ["x", 2.0]}}`, true},
		{"metadata", `{"metadata.source": "shop"}`, true},
		{"metadata with dots", `{"metadata.ce.type": "order"}`, true},
		{"metadata is text", `{"metadata.source": {"$gt": 1}}`, false},
		{"empty metadata is there", `{"metadata.empty": {"$exists": true}, "metadata.nope": {"$exists": false}}`, true},
		{"occurred_at", `{"occurred_at": {"$gte": "2025-01-31", "$lt": "2025-01-31T13:00:00.000001+01:00"}}`, true},
		{"occurred_at equals in any zone", `{"occurred_at": "2025-01-31T13:00:00+01:00"}`, true},
		{"occurred_at $in", `{"occurred_at": {"$in": ["2025-01-30", "2025-01-31T12:00:00Z"]}}`, true},
		{"occurred_at is not null", `{"occurred_at": {"$ne": null}}`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := matcher(t, c.conditions, "")
			got, err := m.Match(order(document))
			if err != nil || got != c.want {
				t.Fatalf("%s is %v, %v; want %v", c.conditions, got, err, c.want)
			}
			failing, err := m.Failing(order(document))
			if err != nil || (failing == "") != got {
				t.Fatalf("%s: failing condition is %q, %v", c.conditions, failing, err)
			}
		})
	}
}

func TestConditionsOfAbsentAttributes(t *testing.T) {
	t.Parallel()
	m := matcher(t, `{"tenant_id": null, "occurred_at": null, "schema_version": {"$exists": false}, "payload": null}`, "")
	if ok, err := m.Match(&event.Event{}); !ok || err != nil {
		t.Fatal(ok, err)
	}
}

func TestConditionFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ conditions, pointer, text string }{
		{`{"payload.a": {"$gtt": 1}}`, "/payload.a/$gtt", "did you mean $gt?"},
		{`{"payload.a": {"$regexp": "x"}}`, "/payload.a/$regexp", "did you mean $regex?"},
		{`{"$annd": []}`, "/$annd", "did you mean $and?"},
		{`{"$gt": 1}`, "/$gt", "belongs below a path"},
		{`{"payload.a": {"$and": []}}`, "/payload.a/$and", "beside paths"},
		{`{"payload.a": {"$mod": [4, 0]}}`, "/payload.a/$mod", "unknown operator $mod"},
		{`{"price": 1}`, "/price", "did you mean payload.price?"},
		{`{"paylod.price": 1}`, "/paylod.price", "did you mean payload?"},
		{`{"payload/x~y": {"$size": -1}}`, "/payload~1x~0y", "payload"},
		{`{"topic.x": 1}`, "/topic.x", "has no fields"},
		{`{"metadata": 1}`, "/metadata", "needs the name of a key"},
		{`{"payload..a": 1}`, "/payload..a", "empty name"},
		{`{"": 1}`, "/", "path is empty"},
		{`{"payload.a": {"$in": 1}}`, "/payload.a/$in", "needs an array"},
		{`{"payload.a": {"$in": [{"$regex": "x"}]}}`, "/payload.a/$in/0", "do not go inside"},
		{`{"payload.a": {"$exists": 1}}`, "/payload.a/$exists", "needs true or false"},
		{`{"payload.a": {"$not": 5}}`, "/payload.a/$not", "needs an object of operators"},
		{`{"payload.a": {"$not": {}}}`, "/payload.a/$not", "needs an object of operators"},
		{`{"payload.a": {"$size": 1.5}}`, "/payload.a/$size", "whole number"},
		{`{"payload.a": {"$regex": "("}}`, "/payload.a/$regex", "does not compile"},
		{`{"payload.a": {"$regex": "(?=x)"}}`, "/payload.a/$regex", "does not compile"},
		{`{"payload.a": {"$regex": "a{900}b{900}c{900}"}}`, "/payload.a/$regex", "instructions"},
		{`{"payload.a": {"$regex": "` + strings.Repeat("a", 501) + `"}}`, "/payload.a/$regex", "longer than 500"},
		{`{"payload.a": {"$regex": "a", "$options": "x"}}`, "/payload.a/$options", "knows i, m and s"},
		{`{"payload.a": {"$options": "i"}}`, "/payload.a/$options", "needs a $regex"},
		{`{"payload.a": {"$gt": 1, "b": 2}}`, "/payload.a/b", "mixed"},
		{`{"payload.a": {"b": 2, "$gt": 1}}`, "/payload.a/$gt", "mixed"},
		{`{"payload.a": {"$elemMatch": 1}}`, "/payload.a/$elemMatch", "needs an object"},
		{`{"payload.a": {"$elemMatch": {"b": {"$gtt": 1}}}}`, "/payload.a/$elemMatch/b/$gtt", "did you mean $gt?"},
		{`{"payload.a": {"$all": [1, {"$elemMatch": {}}]}}`, "/payload.a/$all", "not both"},
		{`{"$or": []}`, "/$or", "at least one"},
		{`{"$or": [{"payload.a": {"$gtt": 1}}]}`, "/$or/0/payload.a/$gtt", "did you mean"},
		{`{"payload.a": 1, "payload.a": 2}`, "/payload.a", "duplicate key"},
		{`{"payload.a": {"x": {"y": 1, "y": 2}}}`, "/payload.a/x/y", "duplicate key"},
		{`{"occurred_at": "yesterday"}`, "/occurred_at", "is compared with a time"},
		{`{"occurred_at": {"$gt": 5}}`, "/occurred_at/$gt", "is compared with a time"},
		{`{"occurred_at": {"$regex": "2025"}}`, "/occurred_at/$regex", "is a time"},
		{`[]`, "", "must be an object"},
		{`{"payload.a": }`, "", "is not JSON at byte 14"},
		{`{"payload.a": ` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}`, "/payload.a" + strings.Repeat("/0", 16), "nested deeper"},
		{`{"payload.a": {"$in": [` + strings.Repeat("1,", 1000) + `1]}}`, "/payload.a/$in/997", "more than 1000 values"},
	} {
		t.Run(c.conditions[:min(40, len(c.conditions))], func(t *testing.T) {
			t.Parallel()
			_, faults := compileConditions(c.conditions, "")
			if len(faults) == 0 {
				t.Fatalf("%.80s: no fault", c.conditions)
			}
			if f := faults[0]; f.Pointer != c.pointer || !strings.Contains(f.Message, c.text) {
				t.Fatalf("%.80s: fault is %q: %q", c.conditions, f.Pointer, f.Message)
			}
		})
	}
}

func TestAllConditionFaultsAtOnce(t *testing.T) {
	t.Parallel()
	var c rules.Compiler
	c.Matcher(`{"payload.a": {"$gtt": 1, "$in": 2}, "b": 3}`, "/targets/0/conditions", "payload.x >", "/targets/0/when")
	var places []string
	for _, f := range c.List {
		places = append(places, f.Pointer)
	}
	want := "/targets/0/conditions/payload.a/$gtt /targets/0/conditions/payload.a/$in /targets/0/conditions/b /targets/0/when"
	if got := strings.Join(places, " "); got != want {
		t.Fatalf("places are %s", got)
	}
}

func TestConditionsOnPayloadsThatAreNotJSON(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ payload, conditions, want string }{
		{"\x08\x01protobuf", `{"payload.a": 1}`, "at byte 0"},
		{`  {"a": 1, b`, `{"payload.b": 1}`, "at byte 11"},
		{`  {"a": 1, b`, `{"payload.b": {"$ne": 1}}`, "at byte 11"},
		{`{"a": 1}#`, `{"payload.a": 1}`, "at byte 8"},
		{`{"a": 1}#`, `{"payload.b": 1}`, "at byte 8"},
		{`{"a": 1} {}`, `{"payload": {"$exists": true}}`, "at byte 9"},
		{`[1]]`, `{"payload.0": 1}`, "at byte 3"},
		{`  {"a": 1, b`, `{"$nor": [{"payload.b": 1}]}`, "at byte 11"},
		{`  {"a": 1, b`, `{"payload": {"$exists": true}}`, "at byte 11"},
		{`[{"a": 1}, {`, `{"payload.a": 2}`, "at byte 12"},
		{`nul`, `{"payload.a": 2}`, "at byte 0"},
		{`{"a": 1, b`, `{"payload.a": 1}`, "at byte 9"},
		{" \n", `{"payload.a": null, "payload": null}`, ""},
		{`not json`, `{"topic": "orders.created"}`, ""},
	} {
		ok, err := matcher(t, c.conditions, "").Match(order(c.payload))
		switch {
		case c.want == "" && (!ok || err != nil):
			t.Errorf("%s on %s: %v, %v", c.conditions, c.payload, ok, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !fault.IsPermanent(err)):
			t.Errorf("%s on %s: %v, %v", c.conditions, c.payload, ok, err)
		}
	}
}

func TestWhen(t *testing.T) {
	t.Parallel()
	const payload = `{"total": 120, "limit": 100, "big": 9007199254740993, "d": 0.5, "items": [{"p": 1}, {"p": 2}], "ok": true, "s": "secret", "s": "x"}`
	for _, c := range []struct {
		when string
		want bool
		err  string
	}{
		{when: "payload.total > payload.limit", want: true},
		{when: "payload.big == 9007199254740993", want: true},
		{when: "payload.big == 9007199254740992"},
		{when: "payload.d < 1 and payload.items[1].p == 2", want: true},
		{when: "payload.missing.deeper == nil", want: true},
		{when: "payload?.total == 120", want: true},
		{when: "payload.ok", want: true},
		{when: "payload.missing"},
		{when: "all(payload.items, .p > 0) && len(payload.items) == 2", want: true},
		{when: `payload["total"] == 120 && payload.s == "secret"`, want: true},
		{when: `"total" in payload && payload.items[-1].p == 2`, want: true},
		{when: `let p = payload; p.s == "secret" && p.big == 9007199254740993`, want: true},
		{when: `topic startsWith "orders." && tenant_id == "acme" && metadata.source == "shop" && id == "e-1"`, want: true},
		{when: `metadata["ce.type"] == "order" && occurred_at > date("2025-01-01")`, want: true},
		{when: `payload.s + "!" == "secret!" && payload.s + payload.s == "secretsecret"`, want: true},
		{when: "payload.total + payload.limit == 220 && payload.total + 1 == 121 && payload.d + payload.d == 1", want: true},
		{when: "reduce(payload.items, #acc + #.p, 0) == 3 && sum(payload.items, .p) == 3", want: true},
		{when: `payload.s matches "^se.ret$" && not (payload.missing matches "x")`, want: true},
		{when: `any(payload.items, .p in [2, 3]) && payload.s in ["x", "secret"] && 1 in map(payload.items, .p)`, want: true},
		{when: `upper(payload.s) == "SECRET" && split("a,b", ",")[1] == "b" && payload.s contains "cre" && metadata[payload.none ?? "source"] == "shop"`, want: true},
		{when: `filter(payload.items, .p > 1)[0].p == payload.items[1].p && payload.items == payload.items`, want: true},
		{when: `payload.total matches "1"`, err: "invalid operation: int matches a pattern"},
		{when: "payload.missing > 5", err: "invalid operation: <nil> > int (line 1, column 17)"},
		{when: "payload.total", err: "gave int, not true or false"},
		{when: "int(payload.s) > 5", err: "a value does not fit (line 1, column 1)"},
		{when: "len(1..200000) > 5", err: "memory budget exceeded"},
	} {
		for _, conditions := range []string{"", `{"payload.total": 120}`} {
			got, err := matcher(t, conditions, c.when).Match(order(payload))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "secret") || !fault.IsPermanent(err) {
					t.Errorf("%s: error is %v, want %s", c.when, err, c.err)
				}
				continue
			}
			if err != nil || got != c.want {
				t.Errorf("%s is %v, %v", c.when, got, err)
			}
		}
	}
	if text, err := matcher(t, `{"payload.total": 120}`, "payload.limit > 100").Failing(order(payload)); text != "when: payload.limit > 100" || err != nil {
		t.Errorf("failing condition is %q, %v", text, err)
	}
}

func TestWhenFaults(t *testing.T) {
	t.Parallel()
	for when, want := range map[string]string{
		"payload.a >":                              "(line 1, column 11)",
		"paylod.a":                                 "unknown name paylod (line 1, column 1)",
		`true and paylod.a matches "x"`:            "unknown name paylod (line 1, column 10)",
		"$env.topic == \"x\"":                      "unknown name $env",
		"$gt($env, 0)":                             "unknown name $",
		"now() > occurred_at":                      "unknown name now",
		"1 + 1":                                    "type int",
		"topic + 1":                                "mismatched types",
		"let payload = 5; true":                    "cannot redeclare",
		strings.Repeat("1", 2001):                  "longer than 2000",
		`payload.a matches payload.b`:              "the pattern of matches must be a text",
		`payload.a matches "("`:                    "missing closing",
		`payload.a matches "a{900}b{900}c{900}"`:   "instructions",
		`repeat(payload.a, 9) != ""`:               "function repeat is not available here",
		`len(sort(payload.a)) == 1`:                "function sort is not available here",
		`any(payload.a, toJSON(#) != "")`:          "function toJSON is not available here",
		`date(payload.a, payload.b) > occurred_at`: "all arguments of date but the first",
		"$cost($env, payload.a, 1) == 1":           "unknown name $",
		"all(payload.a, all(payload.b, all(payload.c, true)))":  "nested 3 deep",
		strings.Repeat("payload.a == 1 || ", 100) + "payload.b": "exceeds maximum allowed nodes",
	} {
		_, faults := compileConditions("", when)
		if len(faults) != 1 || !strings.Contains(faults[0].Message, want) || strings.Contains(faults[0].Message, "\n") {
			t.Errorf("%.60s: faults are %v, want %s", when, faults, want)
		}
	}
}

func TestMatcherIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	m := matcher(t, `{"payload.n": {"$gt": 10}}`, "payload.n > 10 && all(payload.list, # > 0)")
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			e, want := order(`{"n": 5, "list": [1]}`), false
			if i%2 == 0 {
				e, want = order(`{"n": 15, "list": [1, 2]}`), true
			}
			for range 500 {
				if ok, err := m.Match(e); ok != want || err != nil {
					t.Error(ok, err)
					return
				}
			}
		})
	}
	group.Wait()
}

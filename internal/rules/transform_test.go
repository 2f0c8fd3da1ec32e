package rules_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/bento-outbox/watermill-outbox/internal/fault"
	"github.com/bento-outbox/watermill-outbox/internal/rules"
)

func TestTransform(t *testing.T) {
	t.Parallel()
	const untouched = "{ \"z\" : 1.50e+02 ,\n\t\"a\":[ 1 , {\"k\" : \"\\u00e9\\/\" } ] , \"big\":9007199254740993 , \"e\" : { } }"
	for _, c := range []struct{ name, config, payload, want string }{
		{"nothing", `{}`, untouched, untouched},
		{"nothing there", `{"exclude_fields":["no","a.no","z.no"],"field_mapping":{"no":"x","a.no":"a.y","no.no":"q"}}`, untouched, untouched},
		{"include", `{"include_fields":["z","big"]}`, untouched, "{ \"z\" : 1.50e+02 , \"big\":9007199254740993 }"},
		{"include all there is", `{"include_fields":["z","a","big","e"]}`, untouched, untouched},
		{"include none", `{"include_fields":["no"]}`, untouched, `{}`},
		{"include nested", `{"include_fields":["a.b"]}`, `{"a":{"b":1,"c":2},"d":3}`, `{"a":{"b":1}}`},
		{"include below a scalar", `{"include_fields":["a.b"]}`, `{"a":5,"d":3}`, `{}`},
		{"include keeps an empty parent", `{"include_fields":["a.b"]}`, `{"a":{"c":2}}`, `{"a":{}}`},
		{"include in elements", `{"include_fields":["i.p"]}`, `{"i":[{"p":1,"q":2},3,{"q":4}]}`, `{"i":[{"p":1},{}]}`},
		{"include an element", `{"include_fields":["i.1"]}`, `{"i":[1,2,3]}`, `{"i":[2]}`},
		{"include an element and names", `{"include_fields":["i.0","i.p"]}`, `{"i":[{"q":1},{"q":2,"p":3}]}`, `{"i":[{"q":1},{"p":3}]}`},
		{"include parent and child", `{"include_fields":["a.b","a"]}`, `{"a":{"b":1,"c":2}}`, `{"a":{"b":1,"c":2}}`},
		{"include of an array of objects", `{"include_fields":["p"]}`, `[{"p":1,"q":2}, {"q":3}]`, `[{"p":1}, {}]`},
		{"exclude", `{"exclude_fields":["z","e"]}`, untouched, "{\n\t\"a\":[ 1 , {\"k\" : \"\\u00e9\\/\" } ] , \"big\":9007199254740993 }"},
		{"exclude all", `{"exclude_fields":["a"]}`, `{ "a" : 1 }`, `{}`},
		{"exclude in elements", `{"exclude_fields":["i.p"]}`, `{"i":[{"p":1,"q":2},3]}`, `{"i":[{"q":2},3]}`},
		{"exclude an element and names", `{"exclude_fields":["i.0.q","i.p"]}`, `{"i":[{"p":1,"q":2,"r":3},{"p":1,"q":2}]}`, `{"i":[{"r":3},{"q":2}]}`},
		{"exclude an escaped spelling", `{"exclude_fields":["café"]}`, `{"caf\u00e9":1,"b":2}`, `{"b":2}`},
		{"map", `{"field_mapping":{"a":"x"}}`, `{"z":0, "a" :1.0,"b":2}`, `{"z":0, "x" :1.0,"b":2}`},
		{"map onto a field", `{"field_mapping":{"a":"b"}}`, `{"b":2,"a":1}`, `{"b":1}`},
		{"map of nothing onto a field", `{"field_mapping":{"a":"b"}}`, `{"b":2}`, `{"b":2}`},
		{"swap", `{"field_mapping":{"a":"b","b":"a"}}`, `{"a":1,"b":2}`, `{"b":1,"a":2}`},
		{"chain", `{"field_mapping":{"a":"b","b":"c"}}`, `{"a":1,"b":2}`, `{"b":1,"c":2}`},
		{"map in elements", `{"field_mapping":{"i.p":"i.x"}}`, `{"i":[{"p":1},{"q":2},{"p":3}]}`, `{"i":[{"x":1},{"q":2},{"x":3}]}`},
		{"map to another parent", `{"field_mapping":{"a.b":"c.d"}}`, `{"a":{"b":1e2,"k":0}}`, `{"a":{"k":0},"c":{"d":1e2}}`},
		{"map to the root", `{"field_mapping":{"a.b":"b"}}`, `{"a":{"b":[1, 2]},"b":3}`, `{"a":{},"b":[1, 2]}`},
		{"map an element", `{"field_mapping":{"i.0":"first"}}`, `{"i":[1,2]}`, `{"i":[2],"first":1}`},
		{"names with dots, stars and pipes", `{"field_mapping":{"a\\.b":"c*d|e\\.f"},"exclude_fields":["x*","y\\|z"]}`, `{"a.b":1,"x*":2,"y|z":3,"xx":4}`, `{"c*d|e.f":1,"xx":4}`},
		{"add", `{"add_fields":{"n":1.50,"s":"<x>"}}`, `{"a":1}`, `{"a":1,"n":1.50,"s":"<x>"}`},
		{"add to an empty object", `{"add_fields":{"n":1}}`, ` { } `, `{"n":1}`},
		{"add keeps the layout", `{"add_fields":{"n":1}}`, "{\n  \"a\": 1\n}\n", "{\n  \"a\": 1,\"n\":1\n}\n"},
		{"add replaces", `{"add_fields":{"a":{"x": 1}}}`, `{"b":0,"a": 5 ,"c":1}`, `{"b":0,"a": {"x": 1} ,"c":1}`},
		{"add nested", `{"add_fields":{"a.b.c":1,"a.b.d":2}}`, `{"a":{"k":0}}`, `{"a":{"k":0,"b":{"c":1,"d":2}}}`},
		{"add below null", `{"add_fields":{"a.b":1}}`, `{"a":null}`, `{"a":{"b":1}}`},
		{"add in elements", `{"add_fields":{"i.n":1}}`, `{"i":[{"p":1},2,{}]}`, `{"i":[{"p":1,"n":1},2,{"n":1}]}`},
		{"add an element that is there", `{"add_fields":{"i.1":9}}`, `{"i":[1,2]}`, `{"i":[1,9]}`},
		{"add an element that is not there", `{"add_fields":{"i.2":9}}`, `{"i":[1,2]}`, `{"i":[1,2]}`},
		{"the steps in their order", `{"include_fields":["a","b"],"exclude_fields":["b"],"field_mapping":{"a":"b"},"add_fields":{"a":0}}`,
			`{"a":1,"b":2,"c":3}`, `{"b":1,"a":0}`},
		{"duplicates are kept alike", `{"include_fields":["a"]}`, `{"a":1,"b":0,"a":2}`, `{"a":1,"a":2}`},
		{"duplicates are removed alike", `{"exclude_fields":["a"]}`, `{"a":1,"b":0,"a":2}`, `{"b":0}`},
		{"duplicates are renamed alike", `{"field_mapping":{"a":"x"}}`, `{"a":1,"b":0,"a":2}`, `{"x":1,"b":0,"x":2}`},
		{"duplicates are set alike", `{"add_fields":{"a":9}}`, `{"a":1,"b":0,"a":2}`, `{"a":9,"b":0,"a":9}`},
		{"of duplicates the first moves", `{"field_mapping":{"a":"o.a"}}`, `{"a":1,"b":0,"a":2}`, `{"b":0,"o":{"a":1}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			payload := []byte(c.payload)
			got, err := transformer(t, c.config).Transform(payload)
			if err != nil || strings.TrimSpace(string(got)) != strings.TrimSpace(c.want) {
				t.Fatalf("got  %s\nwant %s\n%v", got, c.want, err)
			}
			if string(payload) != c.payload {
				t.Fatalf("the payload was modified: %s", payload)
			}
		})
	}
}

func transformConfig(text string) (rules.TransformConfig, error) {
	var own struct {
		Include []string                   `json:"include_fields"`
		Exclude []string                   `json:"exclude_fields"`
		Mapping map[string]string          `json:"field_mapping"`
		Add     map[string]json.RawMessage `json:"add_fields"`
	}
	err := json.Unmarshal([]byte(text), &own)
	cfg := rules.TransformConfig{IncludeFields: own.Include, ExcludeFields: own.Exclude, FieldMapping: own.Mapping}
	for k, v := range own.Add {
		if cfg.AddFields == nil {
			cfg.AddFields = map[string]any{}
		}
		cfg.AddFields[k] = v
	}
	return cfg, err
}

func transformer(t *testing.T, config string) transform {
	t.Helper()
	cfg, err := transformConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	tr, faults := compileTransform(cfg)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return tr
}

func TestTransformThatChangesNothingGivesThePayloadBack(t *testing.T) {
	t.Parallel()
	payload := []byte(" {\"a\": 1} \n")
	got, err := transformer(t, `{"exclude_fields":["b"]}`).Transform(payload)
	if err != nil || string(got) != string(payload) {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestTransformAddsGoValues(t *testing.T) {
	t.Parallel()
	tr, faults := compileTransform(rules.TransformConfig{AddFields: map[string]any{
		"a": "<x>", "b": json.RawMessage(" 1.50 "), "c": map[string]any{"d": []int{1}},
	}})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if got, err := tr.Transform([]byte(`{}`)); string(got) != `{"a":"<x>","b":1.50,"c":{"d":[1]}}` || err != nil {
		t.Fatal(string(got), err)
	}
}

func TestTransformManyFields(t *testing.T) {
	t.Parallel()
	var include, exclude []string
	payload, want := map[string]int{}, map[string]int{}
	for i := range 30 {
		name := string(rune('a'+i%26)) + strings.Repeat("x", i)
		payload[name] = i
		switch i % 3 {
		case 0:
			include = append(include, name)
			want[name] = i
		case 1:
			include, exclude = append(include, name), append(exclude, name)
		}
	}
	tr, faults := compileTransform(rules.TransformConfig{IncludeFields: include, ExcludeFields: exclude})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	in, _ := json.Marshal(payload)
	expected, _ := json.Marshal(want)
	if got, err := tr.Transform(in); string(got) != string(expected) || err != nil {
		t.Fatalf("got  %s\nwant %s\n%v", got, expected, err)
	}
}

func TestTransformErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ config, payload, want string }{
		{`{"include_fields":["a"]}`, `{"a":1,}`, "not JSON at byte 7"},
		{`{"include_fields":["a"]}`, ``, "not JSON at byte 0"},
		{`{}`, `nope`, "not JSON"},
		{`{"include_fields":["a"]}`, `5`, "payload is a number"},
		{`{"add_fields":{"a.b":1}}`, `{"a":"secret"}`, `"a" is a string and cannot hold the field "b"`},
		{`{"field_mapping":{"x":"a.b.c"}}`, `{"x":1,"a":{"b":true}}`, `"b" is a boolean`},
	} {
		got, err := transformer(t, c.config).Transform([]byte(c.payload))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") || !fault.IsPermanent(err) {
			t.Errorf("%s on %s: %s, %v", c.config, c.payload, got, err)
		}
	}
}

func TestTransformFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cfg           rules.TransformConfig
		pointer, text string
	}{
		{rules.TransformConfig{IncludeFields: []string{"a", "b..c"}}, "/include_fields/1", "empty name"},
		{rules.TransformConfig{ExcludeFields: []string{`a\`}}, "/exclude_fields/0", "ends in a backslash"},
		{rules.TransformConfig{ExcludeFields: []string{strings.Repeat("a.", 20) + "a"}}, "/exclude_fields/0", "nested deeper"},
		{rules.TransformConfig{FieldMapping: map[string]string{"a": "x", "b": "x"}}, "/field_mapping/b", "same place"},
		{rules.TransformConfig{FieldMapping: map[string]string{"a": "x", "b": "x.y"}}, "/field_mapping/b", "same place"},
		{rules.TransformConfig{FieldMapping: map[string]string{"a": "a.b"}}, "/field_mapping/a", "inside the other"},
		{rules.TransformConfig{AddFields: map[string]any{"a": 1, "a.b": 2}}, "/add_fields/a.b", "same place"},
		{rules.TransformConfig{AddFields: map[string]any{"a": func() {}}}, "/add_fields/a", "not JSON"},
		{rules.TransformConfig{AddFields: map[string]any{"a": json.RawMessage(`{"b":}`)}}, "/add_fields/a", "not JSON"},
	} {
		_, faults := compileTransform(c.cfg)
		if len(faults) == 0 {
			t.Errorf("%+v: no fault", c.cfg)
			continue
		}
		if f := faults[0]; f.Pointer != c.pointer || !strings.Contains(f.Message, c.text) {
			t.Errorf("%+v: fault is %v", c.cfg, f)
		}
	}
}

func FuzzTransform(f *testing.F) {
	f.Add(`{"include_fields":["a.b","i.0"],"field_mapping":{"a.b":"c"},"add_fields":{"x.y":1}}`, `{"a":{"b":[1,2]},"i":[{"p":1}]}`)
	f.Add(`{"exclude_fields":["i.p"],"field_mapping":{"i.q":"i.r","a":"b","b":"a"}}`, `{"i":[{"p":1,"q":2}],"a":1,"b":2,"a":3}`)
	f.Fuzz(func(t *testing.T, config, payload string) {
		cfg, err := transformConfig(config)
		if err != nil {
			return
		}
		tr, faults := compileTransform(cfg)
		if len(faults) > 0 {
			return
		}
		got, err := tr.Transform([]byte(payload))
		if (err == nil) != json.Valid([]byte(payload)) && !fault.IsPermanent(err) {
			t.Fatalf("%q: %v", payload, err)
		}
		if err == nil && !json.Valid(got) {
			t.Fatalf("%s made %q of %q", config, got, payload)
		}
	})
}

func BenchmarkTransform(b *testing.B) {
	tr, faults := compileTransform(rules.TransformConfig{IncludeFields: []string{"id", "name", "price"}})
	if len(faults) > 0 {
		b.Fatal(faults)
	}
	payload := []byte(payload300)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tr.Transform(payload); err != nil {
			b.Fatal(err)
		}
	}
}

package jsontext_test

import (
	"encoding/json"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bento-outbox/watermill-outbox/internal/rules/jsontext"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		`{}`: -1, ` [1, 2.5e-3 ,"a\u00e9", null] `: -1, `"` + strings.Repeat("x", 100) + `"`: -1,
		``: 0, `{`: 1, `{"a":1,}`: 7, `[1,]`: 3, `01`: 0, `-`: 1, `1.`: 2, `1e`: 2, `"a`: 2, `"\x"`: 2, `tru`: 0, `{} x`: 3,
		"\"a\nb\"": 2, "\"1234\x0167890123456\"": 5, `{"a" 1}`: 5, `{a:1}`: 1,
	} {
		if got := jsontext.Check(text); got != want {
			t.Errorf("Check(%q) = %d, want %d", text, got, want)
		}
	}
	if deep := strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000); jsontext.Check(deep) < 0 {
		t.Error("20,000 nested arrays are valid")
	}
}

func FuzzCheck(f *testing.F) {
	for _, seed := range []string{`{"a":[1,-0.5e+7,"\ud83d\ude00",true,false,null]}`, `[[[]]]`, `"\u12"`, "\"12345678\x01\"", `{"":{}}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := jsontext.Check(text)
		if valid := json.Valid([]byte(text)); valid != (got < 0) {
			t.Fatalf("Check(%q) = %d, encoding/json says %v", text, got, valid)
		}
		if got >= 0 {
			return
		}
		rebuilt, trimmed := "", jsontext.Trim(text)
		it, opening := jsontext.Members(trimmed), "{"
		if jsontext.KindOf(trimmed) == jsontext.Array {
			it, opening = jsontext.Elements(trimmed), "["
		} else if jsontext.KindOf(trimmed) != jsontext.Object {
			return
		}
		for n := 0; it.Next(); n++ {
			if n > 0 {
				rebuilt += ","
			}
			rebuilt += it.Before + it.Key + it.Between + it.Value + it.After
		}
		if rebuilt == "" {
			rebuilt = it.Before
		}
		if it.Fault() >= 0 || opening+rebuilt+trimmed[len(trimmed)-1:] != trimmed {
			t.Fatalf("the parts of %q are %q, fault %d", trimmed, rebuilt, it.Fault())
		}
	})
}

func TestCompareNumbers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"9007199254740993", "9007199254740992", 1},
		{"9999999999999999999", "1", 1},
		{"0.30", "0.3", 0},
		{"0.1", "0.1000000000000000055511151231257827", -1},
		{"1e2", "100", 0},
		{"100e-2", "1.0", 0},
		{"-0", "0", 0},
		{"-0.0e5", "0", 0},
		{"-1", "1", -1},
		{"-2", "-1", -1},
		{"-10.5", "-10.25", -1},
		{"1e999999999", "2", 1},
		{"1e-999999999", "0", 1},
		{"1e99999999999999999999", "1e999999999", 1},
		{"123456789012345678901234567890", "123456789012345678901234567891", -1},
		{"0.00012", "1.2e-4", 0},
		{"12.34e1", "123.4", 0},
	} {
		if got := jsontext.CompareNumbers(c.a, c.b); got != c.want {
			t.Errorf("CompareNumbers(%s, %s) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := jsontext.CompareNumbers(c.b, c.a); got != -c.want {
			t.Errorf("CompareNumbers(%s, %s) = %d, want %d", c.b, c.a, got, -c.want)
		}
	}
}

func TestCompareNumbersAgreesWithRationals(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	number := func() string {
		s := strconv.Itoa(random.IntN(30))
		if random.IntN(3) == 0 {
			s = "-" + s
		}
		if random.IntN(2) == 0 {
			s += "." + strconv.Itoa(random.IntN(30)) + strings.Repeat("0", random.IntN(3))
		}
		if random.IntN(2) == 0 {
			s += "e" + strconv.Itoa(random.IntN(7)-3)
		}
		return s
	}
	for range 50_000 {
		a, b := number(), number()
		x, _ := new(big.Rat).SetString(a)
		y, _ := new(big.Rat).SetString(b)
		if got, want := jsontext.CompareNumbers(a, b), x.Cmp(y); got != want {
			t.Fatalf("CompareNumbers(%s, %s) = %d, want %d", a, b, got, want)
		}
	}
}

func TestFieldAndIs(t *testing.T) {
	t.Parallel()
	const object = `{"a":1,"\u0062":2,"a":3,"\\":4}`
	for name, want := range map[string]string{"a": "1", "b": "2", `\`: "4", `\u0062`: "", "z": ""} {
		var doc jsontext.Document
		if fault := doc.Read(" " + object); fault >= 0 {
			t.Fatalf("fault at %d", fault)
		}
		got, walked := jsontext.Field(object, name)
		of, _ := doc.Field(name, 1<<30)
		if got != want || of != want || walked > len(object) {
			t.Errorf("Field(%q) = %q and %q, want %q", name, got, of, want)
		}
	}
}

func TestUnquote(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`"plain"`: "plain", `"\"\\\/\b\f\n\r\t"`: "\"\\/\b\f\n\r\t", `"\u00e9x\u20AC"`: "éx€", `"\ud83d\ude00!"`: "😀!",
		`"\ud800"`: "\xed\xa0\x80", `"\udfff"`: "\xed\xbf\xbf", `"\ud800\ud83d\ude00"`: "\xed\xa0\x80😀", `"\ud800\n"`: "\xed\xa0\x80\n", `"\u0000"`: "\x00",
	} {
		if got := jsontext.Unquote(raw); got != want {
			t.Errorf("Unquote(%s) = %q, want %q", raw, got, want)
		}
		if !jsontext.Is(raw, want) || jsontext.Is(raw, want+"x") {
			t.Errorf("%s is not %q", raw, want)
		}
	}
}

// FuzzDocument compares a document with a walk from the beginning, and a text without lone surrogates with encoding/json.
func FuzzDocument(f *testing.F) {
	for _, seed := range []string{` {"a":1,"\u0062":[{}],"a":2} `, `{}`, `[1]`, `{"a":1}#`, `{"a":"\ud83d\ude00\n"}`} {
		f.Add(seed)
	}
	f.Add("{" + strings.Repeat(`"m":[1],`, 30) + `"last":{"x":null}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var doc jsontext.Document
		if fault := doc.Read(text); fault != jsontext.Check(text) {
			t.Fatalf("fault of %q at %d, want %d", text, fault, jsontext.Check(text))
		} else if fault >= 0 {
			return
		}
		if doc.Root() != jsontext.Trim(text) {
			t.Fatalf("root of %q is %q", text, doc.Root())
		}
		for it := jsontext.Members(doc.Root()); it.Next(); {
			name := jsontext.Unquote(it.Key)
			got, _ := doc.Field(name, 1<<30)
			if want, _ := jsontext.Field(doc.Root(), name); got != want {
				t.Fatalf("field %q of %q is %q, want %q", name, text, got, want)
			}
			var std string
			if err := json.Unmarshal([]byte(it.Key), &std); err != nil || !strings.ContainsRune(std, utf8.RuneError) && std != name {
				t.Fatalf("%s is %q, want %q", it.Key, name, std)
			}
		}
		for i := range doc.Root() { // cut off anywhere
			if value, walked := jsontext.Field(doc.Root()[:i], "a"); value == "" && walked > i {
				t.Fatalf("walked over %d bytes of %q", walked, doc.Root()[:i])
			}
		}
		doc.Clear()
		if got, _ := doc.Field("a", 9); got != "" || doc.Root() != "" {
			t.Fatal("it is not cleared")
		}
	})
}

func TestQuote(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "a", `a"b\c`, "é<&>\n", "\u2028"} {
		if got := jsontext.Unquote(jsontext.Quote(text)); got != text {
			t.Errorf("%q came back as %q", text, got)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	text := `{"items":[` + strings.Repeat(`{"id":12345,"name":"a name of some length","price":99.50},`, 350) + `{}]}`
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		jsontext.Check(text)
	}
}

package mongotest

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/event"
	"github.com/bento-outbox/watermill-outbox/internal/rules"
)

//go:embed mingo.mjs
var script []byte

const (
	mingoVersion = "7.2.7"
	pairs        = 40_000
)

// oracle answers pairs by mingo, which npm installs into a folder of the test.
type oracle struct{ folder string }

func newOracle(t *testing.T) oracle {
	t.Helper()
	if testing.Short() {
		t.Skip("installs mingo from npm: not in short mode")
	}
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs node and npm: %v", err)
		}
	}
	o := oracle{t.TempDir()}
	for name, text := range map[string][]byte{"mingo.mjs": script, "package.json": []byte(`{"private":true}`)} {
		if err := os.WriteFile(filepath.Join(o.folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "mingo@"+mingoVersion)
	install.Dir = o.folder
	if out, err := install.CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("cannot install mingo: %v\n%s", err, out)
		}
		t.Skipf("cannot install mingo: %v\n%s", err, out)
	}
	return o
}

func (o oracle) ask(t *testing.T, list []Pair) []bool {
	t.Helper()
	var in bytes.Buffer
	for _, p := range list {
		in.Write(marshal(p))
		in.WriteByte('\n')
	}
	cmd := exec.CommandContext(t.Context(), "node", "mingo.mjs")
	cmd.Dir, cmd.Stdin, cmd.Stderr = o.folder, &in, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(list) {
		t.Fatalf("%d answers to %d pairs", len(lines), len(list))
	}
	answers := make([]bool, len(list))
	for i, line := range lines {
		if answers[i], err = strconv.ParseBool(line); err != nil {
			t.Fatalf("mingo on %s of %s: %s", list[i].Query, list[i].Doc, line)
		}
	}
	return answers
}

func ours(t *testing.T, p Pair) bool {
	t.Helper()
	var doc struct{ Payload json.RawMessage }
	if err := json.Unmarshal(p.Doc, &doc); err != nil {
		t.Fatal(err)
	}
	var c rules.Compiler
	m := c.Matcher(string(p.Query), "", "", "")
	if len(c.List) > 0 {
		t.Fatalf("%s: %v", p.Query, c.List)
	}
	s := rules.Open(&event.Event{Payload: doc.Payload})
	defer s.Close()
	ok, err := m.Match(s)
	if err != nil {
		t.Fatalf("%s of %s: %v", p.Query, doc.Payload, err)
	}
	return ok
}

// TestAgainstReference compares generated pairs with the server's rules. No difference is excused.
func TestAgainstReference(t *testing.T) {
	t.Parallel()
	g, matches, indexes := NewGenerator(seed(t)), 0, 0
	for range pairs {
		p := g.Next()
		want := Reference(p)
		if got := ours(t, p); got != want {
			t.Fatalf("we say %v to %s of %s", got, p.Query, p.Doc)
		}
		if want {
			matches++
		}
		if slices.ContainsFunc(Leaves(p.Doc, p.Query), indexed) {
			indexes++
		}
	}
	if matches < pairs/20 || indexes < pairs/50 {
		t.Errorf("only %d of %d pairs match and %d have an index: they say too little", matches, pairs, indexes)
	}
}

func seed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("MONGOTEST_SEED")
	if text == "" {
		return 1
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestAgainstMingo compares generated pairs. Where the answers differ, an operator of the query must differ by itself, and each that
// does must be one of Differences.
func TestAgainstMingo(t *testing.T) {
	t.Parallel()
	o := newOracle(t)
	g := NewGenerator(seed(t))
	list := make([]Pair, pairs)
	for i := range list {
		list[i] = g.Next()
	}
	matches, differing := 0, map[int][]Leaf{}
	var parts []Pair
	for i, theirs := range o.ask(t, list) {
		own := ours(t, list[i])
		if own {
			matches++
		}
		if own != theirs {
			differing[i] = Leaves(list[i].Doc, list[i].Query)
			for _, l := range differing[i] {
				parts = append(parts, Pair{l.document, l.query})
			}
		}
	}
	if matches < pairs/20 {
		t.Errorf("only %d of %d pairs match: they say too little", matches, pairs)
	}
	theirs := map[string]bool{}
	for i, answer := range o.ask(t, parts) {
		theirs[string(parts[i].Doc)+string(parts[i].Query)] = answer
	}
	count := map[string]int{}
	for i, leaves := range differing {
		explained := false
		for _, l := range leaves {
			p := Pair{l.document, l.query}
			if ours(t, p) == theirs[string(p.Doc)+string(p.Query)] {
				continue
			}
			d := Explain(l)
			if d == nil {
				t.Errorf("unexplained: we say %v to %s of %s", ours(t, p), p.Query, p.Doc)
				continue
			}
			explained = true
			count[d.Name]++
		}
		if !explained {
			t.Errorf("unexplained: we say %v to %s of %s, and agree on each of its operators", ours(t, list[i]), list[i].Query, list[i].Doc)
		}
	}
	t.Logf("%d pairs, %d match, %d differ: %v", pairs, matches, len(differing), count)
}

// TestDifferences shows each documented difference by its example.
func TestDifferences(t *testing.T) {
	t.Parallel()
	list := make([]Pair, len(Differences))
	for i, d := range Differences {
		list[i] = Pair{json.RawMessage(`{"payload":` + d.Doc + `}`), json.RawMessage(d.Query)}
		if got := ours(t, list[i]); got != d.Ours {
			t.Errorf("%s: we say %v to %s of %s", d.Name, got, d.Query, d.Doc)
		}
	}
	for i, answer := range newOracle(t).ask(t, list) {
		if answer == Differences[i].Ours {
			t.Errorf("%s: mingo agrees on %s of %s, the difference is gone", Differences[i].Name, Differences[i].Query, Differences[i].Doc)
		}
	}
}

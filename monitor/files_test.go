package monitor_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/bento-outbox/watermill-outbox/internal/testdb"
	"github.com/bento-outbox/watermill-outbox/monitor"
)

// metric is what a registry exports under one name.
type metric struct {
	kind, help string
	labels     []string
}

func metrics(t *testing.T) map[string]metric {
	t.Helper()
	families, err := exported(t, testdb.SQLite(t)).Gather()
	require.NoError(t, err)
	list := map[string]metric{}
	for _, f := range families {
		m := metric{kind: strings.ToLower(f.GetType().String()), help: f.GetHelp()}
		for _, l := range f.GetMetric()[0].GetLabel() {
			m.labels = append(m.labels, l.GetName())
		}
		list[f.GetName()] = m
	}
	return list
}

var (
	selector = regexp.MustCompile(`\b(outbox_\w+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"[^"]*"`)
	grouping = regexp.MustCompile(`\b(?:by|on|without|ignoring)\s*\(([^)]*)\)`)
	parts    = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// uses fails unless every metric of an expression is exported with the labels that it is asked for.
func uses(t *testing.T, list map[string]metric, expr string) (names []string) {
	t.Helper()
	labels := []string{"job", "instance"} // every target has them
	for _, m := range selector.FindAllStringSubmatch(expr, -1) {
		name := m[1]
		if base := parts.ReplaceAllString(name, ""); list[base].kind == "histogram" {
			name = base
			labels = append(labels, "le")
		}
		known, ok := list[name]
		require.True(t, ok, "%s is not exported: %s", m[1], expr)
		require.True(t, known.kind != "histogram" || name != m[1], "%s is a histogram, it has _bucket, _sum and _count: %s", name, expr)
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			require.Contains(t, append(known.labels, "job", "instance"), l[1], "%s has no such label: %s", name, expr)
		}
		labels = append(labels, known.labels...)
		names = append(names, name)
	}
	require.NotEmpty(t, names, "no metric of the outbox: %s", expr)
	for _, m := range grouping.FindAllStringSubmatch(expr, -1) {
		for _, l := range strings.Split(m[1], ",") {
			require.Contains(t, labels, strings.TrimSpace(l), expr)
		}
	}
	return names
}

func TestAlertRulesUseWhatIsExported(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("prometheus/alerts.yml")
	require.NoError(t, err)
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	dec := yaml.NewDecoder(strings.NewReader(string(text)))
	dec.KnownFields(true)
	require.NoError(t, dec.Decode(&file))
	list := metrics(t)
	seen := map[string]bool{}
	guide := sections(t, "../docs/troubleshooting.md")
	for _, r := range file.Groups[0].Rules {
		uses(t, list, r.Expr)
		require.Contains(t, []string{string(monitor.Warning), string(monitor.Critical)}, r.Labels["severity"], r.Alert)
		require.NotEmpty(t, r.Annotations["summary"], r.Alert)
		require.NotEmpty(t, r.Annotations["action"], r.Alert)
		page, section, _ := strings.Cut(r.Annotations["runbook_url"], "#")
		require.Equal(t, "https://github.com/bento-outbox/watermill-outbox/blob/main/docs/troubleshooting.md", page, r.Alert)
		require.Contains(t, guide, section, r.Alert)
		if rule := r.Labels["rule"]; rule != "" {
			require.Contains(t, monitor.AlertRules, monitor.Rule(rule), r.Alert)
			seen[rule] = true
		}
		require.False(t, seen[r.Alert], "%s is there twice", r.Alert)
		seen[r.Alert] = true
	}
	for _, rule := range monitor.AlertRules {
		require.True(t, seen[string(rule)], "Prometheus has no rule for %s", rule)
	}
}

// sections returns the anchors of a page's headings.
func sections(t *testing.T, page string) (anchors []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			anchors = append(anchors, strings.ReplaceAll(strings.ToLower(strings.TrimSpace(title)), " ", "-"))
		}
	}
	return anchors
}

// Prometheus's own tool reads the rules and tries them on numbers.
func TestAlertRulesInPrometheus(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("skipped: promtool is not installed; it comes with Debian's prometheus")
	}
	out, err := exec.CommandContext(t.Context(), promtool, "check", "rules", "prometheus/alerts.yml").CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.CommandContext(t.Context(), promtool, "test", "rules", "prometheus/alerts_test.yml").CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func TestDashboardUsesWhatIsExported(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("grafana/dashboard.json")
	require.NoError(t, err)
	var board struct {
		Title, UID string
		Panels     []struct {
			ID      int
			Title   string
			Type    string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(text, &board))
	list := metrics(t)
	ids, shown := map[int]bool{}, map[string]bool{}
	taken := map[[2]int]string{}
	for _, p := range board.Panels {
		require.False(t, ids[p.ID], "panel %d is there twice", p.ID)
		ids[p.ID] = true
		require.NotEmpty(t, p.Targets, p.Title)
		for _, target := range p.Targets {
			for _, name := range uses(t, list, target.Expr) {
				shown[name] = true
			}
			require.Contains(t, target.Expr, `job=~"$job"`, p.Title)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				require.Empty(t, taken[[2]int{x, y}], "%s lies on %s", p.Title, taken[[2]int{x, y}])
				taken[[2]int{x, y}] = p.Title
				require.Less(t, x, 24, p.Title)
			}
		}
	}
	require.Greater(t, len(shown), 15)
}

// The table of metrics in the documentation is what is exported.
func TestDocumentedMetrics(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/monitoring.md")
	require.NoError(t, err)
	list := metrics(t)
	var want []string
	for name, m := range list {
		labels := strings.Join(m.labels, ", ")
		want = append(want, fmt.Sprintf("| `%s` | %s | %s | %s |", name, m.kind, labels, m.help))
	}
	slices.Sort(want)
	var got []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| `outbox_") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	slices.Sort(got)
	require.Equal(t, strings.Join(want, "\n"), strings.Join(got, "\n"))
}

package faults

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Markdown is the report of a run.
func (r *Result) Markdown() string {
	var b strings.Builder
	v := r.Verdict
	verdict := "**Every promise was kept.**"
	if failures := r.Failures(); len(failures) > 0 {
		verdict = "**Promises were broken:**\n\n- " + strings.Join(failures, "\n- ")
	}
	fmt.Fprintf(&b, "%s\n\n", verdict)
	fmt.Fprintf(&b, "| | |\n|---|---|\n")
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "| %s | %s |\n", name, fmt.Sprintf(format, args...))
	}
	line("seed", "%d", r.Config.Seed)
	line("time under load and faults", "%s", r.Took.Round(time.Second))
	line("servers", "PostgreSQL, Redis, %s", r.Kafka)
	line("forwarders", "%d processes, %d of them on a Router, lease %s", r.Config.Forwarders, r.Config.Routers, r.Config.Lease)
	line("faults", "%d", len(r.Windows))
	line("committed events", "%d", v.Committed)
	line("rolled back events", "%d", v.RolledBack)
	line("events whose writer did not learn the outcome", "%d", v.Unknown)
	line("deliveries wanted", "%d", v.Wanted)
	line("deliveries that arrived", "%d", v.Arrived)
	line("repeated", "%d (%s of the deliveries): %d in faults, %d because an answer was late outside of faults, %d without a cause", v.Duplicates,
		percent(v.Duplicates, v.Wanted), v.Duplicates-v.LateAnswers-v.Violations()[Unexplained], v.LateAnswers, v.Violations()[Unexplained])
	line("attempts that failed", "%d", r.Refused)
	line("out of order", "%d", v.Violations()[OutOfOrder])
	if len(v.Slowest) > 0 {
		line("slowest delivery", "%s after its commit", seconds(v.Slowest[0].Took))
	}
	line("dead", "%d", r.Dead)
	line("found by a sweep only", "%d times", r.Swept)
	line("until nothing was left, at the end", "%s", r.Drained.Round(10*time.Millisecond))
	b.WriteString("\n| fault | times | lasted | events committed meanwhile | repeated | recovery, median | worst |\n|---|--:|--:|--:|--:|--:|--:|\n")
	for _, k := range Kinds {
		i := slices.IndexFunc(v.Faults, func(f FaultFigures) bool { return f.Kind == k })
		if i < 0 {
			continue
		}
		f := v.Faults[i]
		fmt.Fprintf(&b, "| %s | %d | %s | %d | %d | %s | %s |\n", f.Kind, f.Times, seconds(f.Lasted), f.Events, f.Duplicates,
			seconds(f.Recovery[len(f.Recovery)/2]), seconds(f.Recovery[len(f.Recovery)-1]))
	}
	return b.String()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func percent(n, of int) string { return fmt.Sprintf("%.2f %%", 100*float64(n)/float64(max(of, 1))) }

package lab

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// report is what is written as raw results.
type report struct {
	Started  time.Time     `json:"started"`
	Machine  machine       `json:"machine"`
	Settings Settings      `json:"settings"`
	Runs     []measurement `json:"runs"`
}

// save writes r into directory, under a name that says when it was started and what with.
func (r *report) save(directory string) error {
	if directory == "" {
		return nil
	}
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	name := r.Started.Format("2006-01-02T150405") + "-" + strings.Join(r.Settings.Systems, "-")
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(directory, name+".json"), append(b, '\n'), 0o644)
}

func load(file string) (*report, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	r := new(report)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}

// table prints the median and, in brackets, the range of each series, and of the ratios, of the last system to the first, of the runs that were
// made side by side.
func (r *report) table(out io.Writer) error {
	var b strings.Builder
	s := r.Settings
	keys := "uniform"
	if s.Zipf > 0 {
		keys = fmt.Sprintf("zipf %g", s.Zipf)
	}
	fmt.Fprintf(&b, "%s.\n%d-byte payloads, %d %s keys, %d repeats; events/s as median (range); the ratio is taken within each repeat.\n", r.Machine, s.Payload,
		s.Keys, keys, s.Repeats)
	if s.Finished > 0 {
		fmt.Fprintf(&b, "%d finished events lie in our tables besides.\n", s.Finished)
	}
	fmt.Fprintf(&b, "\n| destination | backlog | %s | ratio | note |\n|---|%s--:|---|\n", strings.Join(s.Systems, " | "), strings.Repeat("--:|", len(s.Systems)+1))
	for _, events := range s.Events {
		for _, destination := range s.Destinations {
			var columns []string
			note := ""
			n := 0
			for _, name := range s.Systems {
				runs := r.runs(name, destination, events)
				n += len(runs)
				columns = append(columns, series(rates(runs), perSecond))
				if slices.ContainsFunc(runs, func(m measurement) bool { return !m.Whole }) {
					note = fmt.Sprintf("%s: the first %s only", name, s.Window)
				}
			}
			if n == 0 {
				continue
			}
			first, last := r.runs(s.Systems[0], destination, events), r.runs(s.Systems[len(s.Systems)-1], destination, events)
			var ratios []float64
			for i := range min(len(first), len(last)) {
				if len(s.Systems) > 1 {
					ratios = append(ratios, last[i].PerSecond/first[i].PerSecond)
				}
			}
			fmt.Fprintf(&b, "| %s | %d | %s | %s | %s |\n", destination, events, strings.Join(columns, " | "), series(ratios, times), note)
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (r *report) runs(system, destination string, events int) (list []measurement) {
	for _, m := range r.Runs {
		if m.System == system && m.Destination == destination && m.Events == events {
			list = append(list, m)
		}
	}
	return list
}

func rates(runs []measurement) (list []float64) {
	for _, m := range runs {
		list = append(list, m.PerSecond)
	}
	return list
}

func series(values []float64, format func(float64) string) string {
	if len(values) == 0 {
		return ""
	}
	return fmt.Sprintf("%s (%s-%s)", format(median(values)), format(slices.Min(values)), format(slices.Max(values)))
}

func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func perSecond(v float64) string {
	if v < 10_000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v/1000, 'f', 1, 64) + "k"
}

func times(v float64) string {
	if v < 2 {
		return strconv.FormatFloat(v, 'f', 2, 64) + "x"
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + "x"
}

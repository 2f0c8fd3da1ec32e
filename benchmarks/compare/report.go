package main

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
	Settings settings      `json:"settings"`
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
	name := r.Started.Format("2006-01-02T150405") + "-uniform"
	if r.Settings.Zipf > 0 {
		name = r.Started.Format("2006-01-02T150405") + "-zipf" + strconv.FormatFloat(r.Settings.Zipf, 'g', -1, 64)
	}
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

// table prints the median and, in brackets, the range of each series, and of the ratios of the runs that were made side by side.
func (r *report) table(out io.Writer) error {
	var b strings.Builder
	keys := "uniform"
	if r.Settings.Zipf > 0 {
		keys = fmt.Sprintf("zipf %g", r.Settings.Zipf)
	}
	fmt.Fprintf(&b, "%s.\n%d %s keys, %d repeats; events/s as median (range); the ratio is taken within each repeat.\n\n", r.Machine,
		r.Settings.Keys, keys, r.Settings.Repeats)
	b.WriteString("| destination | backlog | stock | ours | ratio | note |\n|---|--:|--:|--:|--:|---|\n")
	for _, events := range r.Settings.Events {
		for _, destination := range r.Settings.Destinations {
			stock, ours := r.runs("stock", destination, events), r.runs("ours", destination, events)
			if len(stock)+len(ours) == 0 {
				continue
			}
			var ratios []float64
			for i := range min(len(stock), len(ours)) {
				ratios = append(ratios, ours[i].PerSecond/stock[i].PerSecond)
			}
			note := ""
			if slices.ContainsFunc(stock, func(m measurement) bool { return !m.Whole }) {
				note = fmt.Sprintf("stock: the first %s only", r.Settings.Window)
			}
			fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %s |\n", destination, events, series(rates(stock), perSecond), series(rates(ours), perSecond),
				series(ratios, times), note)
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
	v := slices.Sorted(slices.Values(values))
	median := (v[(len(v)-1)/2] + v[len(v)/2]) / 2
	return fmt.Sprintf("%s (%s-%s)", format(median), format(v[0]), format(v[len(v)-1]))
}

func perSecond(v float64) string {
	if v < 10_000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v/1000, 'f', 1, 64) + "k"
}

func times(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) + "x" }

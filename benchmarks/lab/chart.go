package lab

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"os"
	"strings"
)

// bar is one bar of a chart: its group, its name within it, its length, and what is written behind it.
type bar struct {
	group, name, text string
	value             float64
}

var colours = []string{"#8a94a6", "#2563eb", "#16a34a", "#d97706"}

// drawBars writes an SVG of horizontal bars. Each group has a scale of its own, for their sizes differ by orders of magnitude.
func drawBars(out io.Writer, title string, bars []bar) error {
	const width, left, height, longest = 760, 190, 22, 430
	most, names := map[string]float64{}, map[string]int{}
	for _, b := range bars {
		most[b.group] = max(most[b.group], b.value)
		if _, known := names[b.name]; !known {
			names[b.name] = len(names)
		}
	}
	var s strings.Builder
	y := 44
	for i, b := range bars {
		if i > 0 && bars[i-1].group != b.group {
			y += 12
		}
		if i == 0 || bars[i-1].group != b.group {
			fmt.Fprintf(&s, `<text x="12" y="%d" class="g">%s</text>`+"\n", y+15, html.EscapeString(b.group))
		}
		length := max(2, b.value/max(most[b.group], 1e-9)*longest)
		fmt.Fprintf(&s, `<rect x="%d" y="%d" width="%.1f" height="%d" rx="2" fill="%s"/>`+"\n", left, y, length, height-5, colours[names[b.name]%len(colours)])
		fmt.Fprintf(&s, `<text x="%.1f" y="%d">%s %s</text>`+"\n", left+length+6, y+13, html.EscapeString(b.name), html.EscapeString(b.text))
		y += height
	}
	_, err := fmt.Fprintf(out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="%s">
<style>text{fill:#1f2937}.g{font-weight:600}.bg{fill:#fff}@media(prefers-color-scheme:dark){text{fill:#e5e7eb}.bg{fill:#111827}}</style>
<rect class="bg" width="100%%" height="100%%"/>
<text x="12" y="24" font-size="14" class="g">%[3]s</text>
%[4]s</svg>
`, width, y+10, html.EscapeString(title), s.String())
	return err
}

// chart draws the medians of a series.
func (r *report) chart(out io.Writer) error {
	var bars []bar
	for _, events := range r.Settings.Events {
		for _, destination := range r.Settings.Destinations {
			for _, name := range r.Settings.Systems {
				if runs := r.runs(name, destination, events); len(runs) > 0 {
					m := median(rates(runs))
					bars = append(bars, bar{group: fmt.Sprintf("%s, %d waiting", destination, events), name: name, text: perSecond(m) + "/s", value: m})
				}
			}
		}
	}
	return drawBars(out, "Events a second, drained to", bars)
}

// Chart draws files of raw results, all of comparisons or all of steady loads, as an SVG.
func Chart(files []string, out io.Writer) error {
	var steady []bar
	var all report
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var s steadyResult
		if json.Unmarshal(b, &s) == nil && s.Published > 0 {
			group := fmt.Sprintf("%d/s%s", s.Rate, s.variant())
			steady = append(steady, bar{group, "p50", fmt.Sprintf("%.1f ms", s.P50), s.P50}, bar{group, "p99", fmt.Sprintf("%.1f ms", s.P99), s.P99})
			continue
		}
		r, err := load(file)
		if err != nil {
			return err
		}
		r.merge(&all)
	}
	if len(steady) > 0 {
		return drawBars(out, "From commit to arrival", steady)
	}
	return all.chart(out)
}

// merge adds r to all.
func (r *report) merge(all *report) {
	all.Runs = append(all.Runs, r.Runs...)
	all.Settings.Events = union(all.Settings.Events, r.Settings.Events)
	all.Settings.Destinations = union(all.Settings.Destinations, r.Settings.Destinations)
	all.Settings.Systems = union(all.Settings.Systems, r.Settings.Systems)
}

func union[T comparable](a, b []T) []T {
	for _, x := range b {
		known := false
		for _, y := range a {
			known = known || x == y
		}
		if !known {
			a = append(a, x)
		}
	}
	return a
}

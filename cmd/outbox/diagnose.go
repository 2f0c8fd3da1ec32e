package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
	"github.com/bento-outbox/watermill-outbox/internal/english"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/monitor"
)

type diagnoseCommand struct {
	databaseFlags
	Alerts    kong.Plugins `embed:""`
	OlderThan string       `default:"1h" placeholder:"AGE" help:"Count unfinished work of events older than this (default 1h)."`
	Top       string       `default:"5" placeholder:"N" help:"Show the N most frequent causes of failures (default 5)."`
	Over      string       `default:"2s" placeholder:"DURATION" help:"How long to measure throughput while events are pending; 0s skips this (default 2s)."`
	JSON      bool         `name:"json" help:"Print one JSON object."`
}

func newDiagnoseCommand() diagnoseCommand { return diagnoseCommand{Alerts: alertFlags()} }

// diagnosis is the output of --json.
type diagnosis struct {
	Healthy  bool              `json:"healthy"` // no finding is a warning or critical
	Totals   monitor.Totals    `json:"totals"`  // pending events and deliveries in the other states, each counted up to 10,000
	Span     monitor.Totals    `json:"span"`    // the distance between the first and the last event number of a state with more, else 0
	Rates    *monitor.Rates    `json:"rates"`   // null if not measured
	Old      oldEvents         `json:"old"`
	Causes   []cause           `json:"causes"`
	Findings []monitor.Finding `json:"findings"` // the worst first
}

type oldEvents struct {
	OlderThanSeconds float64 `json:"older_than_seconds"`
	store.Unfinished
}

const diagnoseTimeout = time.Minute

// Run prints what is wrong, why, and what to do. It fails if anything is a warning or critical.
func (c *diagnoseCommand) Run(s *session) error {
	target := s.database()
	older := s.faults.Duration("--older-than", c.OlderThan, 0)
	top := s.faults.Number("--top", c.Top, 0, 1000)
	over := s.faults.Duration("--over", c.Over, 0)
	return s.withDatabase(target, false, func(ctx context.Context, db *sql.DB) error {
		ctx, cancel := context.WithTimeout(ctx, diagnoseTimeout+over)
		defer cancel()
		d, err := diagnose(ctx, db, monitor.Config{
			Schema: target.tables, Thresholds: s.config.Thresholds(), DefaultPublisher: s.config.StandardPublisher(),
		}, older, over, s.log)
		if err != nil {
			return err
		}
		d.Causes = d.Causes[:min(top, len(d.Causes))]
		if c.JSON {
			err = newEncoder(s.stdout).Encode(d)
		} else {
			err = d.write(s.stdout, older)
		}
		if err == nil && !d.Healthy {
			err = failf("not healthy: %s", d.verdict())
		}
		return err
	})
}

// diagnose takes snapshots of the outbox and examines it.
func diagnose(ctx context.Context, db *sql.DB, cfg monitor.Config, older, over time.Duration, l log) (diagnosis, error) {
	var d diagnosis
	m, err := monitor.New(ctx, db, cfg, l.watermill)
	if err != nil {
		return d, err
	}
	snapshot, err := m.Take(ctx)
	if err != nil {
		return d, err
	}
	if snapshot.Totals.Pending > 0 && over > 0 {
		timer := time.NewTimer(over)
		select {
		case <-ctx.Done():
			timer.Stop()
			return d, ctx.Err()
		case <-timer.C:
		}
		if snapshot, err = m.Take(ctx); err != nil {
			return d, err
		}
	}
	d.Totals, d.Span, d.Rates = snapshot.Totals, snapshot.Span, snapshot.Rates
	st, err := store.Open(ctx, db, cfg.Schema)
	if err != nil {
		return d, err
	}
	e := examiner{store: st, snapshot: snapshot, diagnosis: &d}
	if err := e.examine(ctx, older); err != nil {
		return d, err
	}
	return d, nil
}

// verdict counts the critical findings and the warnings.
func (d diagnosis) verdict() string {
	plural := map[monitor.Level]string{monitor.Critical: "critical", monitor.Warning: "warnings"}
	var parts []string
	for _, level := range []monitor.Level{monitor.Critical, monitor.Warning} {
		n := 0
		for _, f := range d.Findings {
			if f.Level == level {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, english.Count(n, string(level), plural[level]))
		}
	}
	return strings.Join(parts, ", ")
}

// write writes d as text.
func (d diagnosis) write(w io.Writer, older time.Duration) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	count := func(status string, n, span int64, meaning string) {
		more := ""
		if span > 0 {
			more, meaning = "+", fmt.Sprintf("%s; their event numbers span %d", meaning, span)
		}
		fmt.Fprintf(t, "%s\t%d%s\t%s\n", status, n, more, meaning)
	}
	count("pending", d.Totals.Pending, d.Span.Pending, "events that nobody has looked at")
	count("waiting", d.Totals.Waiting, d.Span.Waiting, "deliveries that are tried when they are due")
	count("held", d.Totals.Held, d.Span.Held, "deliveries behind another one, a pause, or a destination out of reach")
	count("dead", d.Totals.Dead, d.Span.Dead, "deliveries that gave up")
	count("skipped", d.Totals.Skipped, d.Span.Skipped, "deliveries that nobody wanted")
	more := ""
	if d.Old.More {
		more = "+"
	}
	fmt.Fprintf(t, "old\t%d%s\tof the pending, waiting and held, from events older than %s\n", d.Old.Pending+d.Old.Deliveries, more, config.Short(older))
	if d.Rates != nil {
		fmt.Fprintf(t, "rate\t%.0f/s\tevents get through, and %.0f/s come in\n", d.Rates.Out, d.Rates.In)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(d.Causes) > 0 {
		fmt.Fprintln(t, "\ncount\tstate\tdestination\tcause")
		for _, c := range d.Causes {
			fmt.Fprintf(t, "%d\t%s\t%s\t%s\n", c.Count, c.State, orDash(c.Destination), orDash(shortCause(c.Error)))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(d.Findings) == 0 {
		_, err := fmt.Fprintln(w, "\nall is well")
		return err
	}
	for _, f := range d.Findings {
		if _, err := fmt.Fprintf(w, "\n%s: %s\n    %s\n", f.Level, printable(f.Message), printable(f.Action)); err != nil {
			return err
		}
	}
	return nil
}

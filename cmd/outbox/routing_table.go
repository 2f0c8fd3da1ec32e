package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/bento-outbox/watermill-outbox/router"
)

// shownPayload is the number of characters of a payload in the table.
const shownPayload = 60

// writeTable writes the explanation of e as a table.
func (x *explainer) writeTable(e *router.Event, explanation router.Explanation) {
	if x.shown++; x.shown > 1 {
		x.out.WriteByte('\n')
	}
	title := printable(e.ID)
	if title == "" {
		title = "(no id)"
	}
	if e.Topic != "" {
		title += " on " + printable(e.Topic)
	}
	if explanation.Strategy != "" {
		title += ": " + string(explanation.Strategy)
	}
	if explanation.Route != "" {
		title += ", route " + printable(explanation.Route)
	}
	if explanation.Version != "" {
		title += " of version " + printable(explanation.Version)
	}
	fmt.Fprintln(&x.out, title)
	if len(explanation.Deliveries) == 0 {
		return
	}
	var rows strings.Builder
	t := tabwriter.NewWriter(&rows, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  decision\ttarget\tdestination\treason\tdelay\tretry_policy\tpayload")
	for _, d := range explanation.Deliveries {
		reason := string(d.Reason)
		if d.Condition != "" {
			reason += " " + printable(d.Condition)
		}
		delay, policy, payload := "-", "-", ""
		if d.Decision == "deliver" {
			policy, payload = printable(d.RetryPolicy), printable(shorten(string(d.Payload), shownPayload))
			if d.DelaySeconds > 0 {
				delay = time.Duration(d.DelaySeconds * float64(time.Second)).String()
			}
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Decision, printable(d.Target), printable(d.Destination), reason, delay, policy, payload)
	}
	_ = t.Flush()
	for line := range strings.Lines(rows.String()) {
		fmt.Fprintln(&x.out, strings.TrimRight(line, " \n"))
	}
}

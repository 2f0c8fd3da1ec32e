package main

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/english"
	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/monitor"
)

// examiner adds findings to a diagnosis.
type examiner struct {
	store    *store.Store
	snapshot monitor.Snapshot
	*diagnosis
}

// add adds a finding of a rule that needs slower queries than a snapshot.
func (e *examiner) add(rule monitor.Rule, level monitor.Level, action, message string, args ...any) {
	e.Findings = append(e.Findings, monitor.Finding{Rule: rule, Level: level, Message: fmt.Sprintf(message, args...), Action: action})
}

func (e *examiner) examine(ctx context.Context, older time.Duration) error {
	e.Causes = []cause{}
	e.Old.OlderThanSeconds = older.Seconds()
	var err error
	if e.Old.Unfinished, err = e.store.UnfinishedSince(ctx, older); err != nil {
		return err
	}
	e.Findings = slices.DeleteFunc(e.snapshot.Findings, func(f monitor.Finding) bool { return f.Rule == monitor.RulePool }) // that of this command
	for _, look := range []func(context.Context) error{e.failures, e.holding, e.hotKey, e.triggers, e.leftovers, e.indexes, e.cleanup, e.partitions, e.vacuum, e.connections} {
		if err := look(ctx); err != nil {
			return err
		}
	}
	e.forwarders()
	monitor.SortFindings(e.Findings)
	e.Healthy = e.verdict() == ""
	return nil
}

// forwarders finds groups without a living forwarder whose dead ones own slots.
func (e *examiner) forwarders() {
	living := map[string]bool{}
	for _, f := range e.snapshot.Forwarders {
		living[f.Group] = living[f.Group] || f.Alive
	}
	for _, f := range e.snapshot.Forwarders {
		if !f.Alive && f.Slots > 0 && !living[f.Group] {
			e.add("dead_group", monitor.Warning, "outbox run --group "+english.ShellWord(f.Group), "The forwarder %s has died and nobody is left in its group %q, which has %s.", f.ID, f.Group, english.Count(f.Slots, "slot", "slots"))
		}
	}
}

// cause is an error that deliveries failed with, without the details that differ, such as numbers.
type cause struct {
	Count       int         `json:"count"` // among the newest 10,000 of the state
	State       store.State `json:"state"`
	Destination string      `json:"destination"`
	Error       string      `json:"error"`
	Untried     bool        `json:"no_attempt_counted,omitempty"` // the destination takes nothing for now
}

var varying = regexp.MustCompile(`\d+(\.\d+){3}:\d+->|\d+(\.\d+){3}(:\d+)?|\b[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b|\b[0-9a-fA-F]{16,}\b|\d+`)

// failures groups failed deliveries by cause.
func (e *examiner) failures(ctx context.Context) error {
	const newest = 10_000
	list, err := e.store.Failures(ctx, newest)
	if err != nil {
		return err
	}
	counts := map[cause]int{}
	for _, f := range list {
		counts[cause{State: f.State, Destination: f.Destination, Error: withoutDetails(f.Error), Untried: f.Attempts == 0}]++
	}
	for c, n := range counts {
		c.Count = n
		e.Causes = append(e.Causes, c)
	}
	slices.SortFunc(e.Causes, func(a, b cause) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.State, b.State), cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.Error, b.Error))
	})
	shown := map[store.State]int{}
	for _, c := range e.Causes {
		if shown[c.State]++; shown[c.State] > 3 {
			continue
		}
		if c.State == store.Dead {
			e.add("failures", monitor.Info, "outbox dead list --destination "+english.ShellWord(c.Destination), "%d of the newest dead letters of %s died of: %s", c.Count, c.Destination, shortCause(c.Error))
			continue
		}
		if c.Untried {
			e.add("failures", monitor.Info, "They are tried again by themselves, and use no attempts meanwhile.", "%s to %s %s for a destination that takes nothing: %s",
				english.Count(c.Count, "delivery", "deliveries"), c.Destination, english.Either(c.Count, "waits", "wait"), shortCause(c.Error))
			continue
		}
		e.add("failures", monitor.Info, "They are tried again by themselves. Fix the cause before their attempts are used up, or stop the clock: outbox pause --destination "+english.ShellWord(c.Destination),
			"%s to %s %s for another attempt: %s", english.Count(c.Count, "delivery", "deliveries"), c.Destination,
			english.Either(c.Count, "has failed and waits", "have failed and wait"), shortCause(c.Error))
	}
	return nil
}

// withoutDetails replaces what differs between errors of one cause. It keeps status codes and addresses of servers.
func withoutDetails(text string) string {
	return varying.ReplaceAllStringFunc(oneLine(text), func(s string) string {
		switch {
		case strings.HasSuffix(s, "->"): // the end of a connection that is here
			return ""
		case strings.Contains(s, "."), len(s) == 3 && s[0] >= '1' && s[0] <= '5':
			return s
		}
		return "#"
	})
}

// indexes finds missing, invalid and bloated indexes.
func (e *examiner) indexes(ctx context.Context) error {
	list, err := e.store.Indexes(ctx)
	for _, i := range list {
		switch i.State {
		case store.IndexMissing, store.IndexInvalid:
			e.add("indexes", monitor.Warning, i.Fix, "The index %s of %s is %s.", i.Name, i.Table, i.State)
		default:
			if i.Fix != "" {
				e.add("indexes", monitor.Info, i.Fix, "Of the index %s, %s, its rows need only %.0f %%.", i.Name, size(i.Bytes), (1-i.Bloat)*100)
			}
		}
	}
	return err
}

// cleanup finds old events that no clean-up has removed.
func (e *examiner) cleanup(ctx context.Context) error {
	const kept, pause = 8 * 24 * time.Hour, 48 * time.Hour
	last, err := e.store.LastCleanup(ctx)
	if err != nil {
		return err
	}
	age, any, err := e.store.OldestAge(ctx)
	if err != nil || !any || age < kept || last.Now.Sub(last.FinishedAt) < pause {
		return err
	}
	when := "no clean-up has finished yet"
	if !last.FinishedAt.IsZero() {
		when = "the last clean-up ended at " + timeText(last.FinishedAt)
	}
	e.add("cleanup", monitor.Info, "outbox cleanup --dry-run shows what would go; outbox cleanup removes it. BENTO_OUTBOX_CLEANUP=true makes outbox run do it every night.",
		"The oldest event was stored %s ago, and %s.", english.Count(int(age.Hours()/24), "day", "days"), when)
	return nil
}

// partitions finds that the last partition is full.
func (e *examiner) partitions(ctx context.Context) error {
	list, err := e.store.Partitions(ctx)
	if err != nil || len(list) == 0 {
		return err
	}
	newest := store.Partition{}
	for _, p := range list {
		if p.To > newest.To {
			newest = p
		}
	}
	if newest.To <= e.snapshot.Inserted+1 {
		e.add("partitions", monitor.Warning, "outbox cleanup adds partitions. Run it more often, or take larger ones.",
			"Events go to the default partition since number %d, for nobody has added others.", newest.To)
	}
	return nil
}

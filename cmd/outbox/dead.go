package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bento-outbox/watermill-outbox/admin"
	"github.com/bento-outbox/watermill-outbox/internal/english"
)

type deadCommand struct {
	List    deadList    `cmd:"" help:"List dead letters."`
	Show    deadShow    `cmd:"" help:"Show a dead event in full."`
	Replay  deadReplay  `cmd:"" help:"Deliver dead letters again, only to the targets that gave up."`
	Discard deadDiscard `cmd:"" help:"Discard dead letters, so that they are never delivered."`
}

// deadFilters are the flags that select dead letters. They are pointers, because an empty one must not select all.
type deadFilters struct {
	Seq         []string `placeholder:"SEQ" help:"Only the event with this number. Can be repeated."`
	Tenant      *string  `placeholder:"ID" help:"Only events of this tenant."`
	Topic       *string  `placeholder:"TOPIC" help:"Only events that were published to this topic."`
	Target      *string  `placeholder:"NAME" help:"Only this target of a routing config."`
	Destination *string  `placeholder:"NAME" help:"Only this destination."`
	Error       *string  `placeholder:"TEXT" help:"Only those whose cause contains this text."`
	Since       *string  `placeholder:"TIME" help:"Only those that died at or after this time: 2006-01-02T15:04:05Z, or 2h for two hours ago."`
	Until       *string  `placeholder:"TIME" help:"Only those that died before this time."`
}

func (d deadFilters) given() bool {
	return len(d.Seq) > 0 || slices.ContainsFunc([]*string{d.Tenant, d.Topic, d.Target, d.Destination, d.Error, d.Since, d.Until},
		func(p *string) bool { return p != nil })
}

func (d deadFilters) check(f *faults, now time.Time) admin.DeadFilter {
	text := func(flag string, value *string) string {
		if value == nil {
			return ""
		}
		if *value == "" {
			f.Add("%s: is empty; leave it out to select any", flag)
			return ""
		}
		return f.name(flag, *value)
	}
	when := func(flag string, value *string) time.Time {
		if value == nil {
			return time.Time{}
		}
		if t, err := time.Parse(time.RFC3339, *value); err == nil {
			return t
		}
		ago, err := time.ParseDuration(*value)
		if err != nil || ago < 0 {
			f.Add("%s: %q is neither a time, such as 2006-01-02T15:04:05Z, nor a duration, such as 2h for two hours ago", flag, *value)
			return time.Time{}
		}
		return now.Add(-ago)
	}
	filter := admin.DeadFilter{
		Tenant: text("--tenant", d.Tenant), Topic: text("--topic", d.Topic), Target: text("--target", d.Target),
		Destination: text("--destination", d.Destination), Error: text("--error", d.Error),
		Since: when("--since", d.Since), Until: when("--until", d.Until),
	}
	for _, seq := range d.Seq {
		filter.Seqs = append(filter.Seqs, f.seq("--seq", seq))
	}
	if !filter.Since.IsZero() && !filter.Until.IsZero() && !filter.Since.Before(filter.Until) {
		f.Add("--since is not before --until: nothing can have died then")
	}
	return filter
}

// deadSelection are the flags of commands that change dead letters.
type deadSelection struct {
	databaseFlags
	deadFilters
	All    bool `help:"Select all dead letters; required without a filter."`
	DryRun bool `help:"List what would change, and change nothing."`
	JSON   bool `name:"json" help:"Print one JSON object."`
}

func (d deadSelection) check(s *session) (database, admin.DeadFilter) {
	f := &s.faults
	target := s.database()
	filter := d.deadFilters.check(f, time.Now())
	switch {
	case !d.All && !d.given():
		f.Add("no dead letters selected: set --seq, --topic or another filter, or --all")
	case d.All && d.given():
		f.Add("--all: there is a filter too; leave one of them out")
	}
	return target, filter
}

// deadPage is the number of dead letters that are handled at once.
const deadPage = 500

// eachDeadPage calls f with all the dead letters that filter selects, in order.
func eachDeadPage(ctx context.Context, client *admin.Client, filter admin.DeadFilter, f func([]admin.DeadLetter) error) error {
	var last *admin.DeadLetter
	for {
		page, err := client.DeadLetters(ctx, filter, last, deadPage)
		if err != nil || len(page) == 0 {
			return err
		}
		last = &page[len(page)-1]
		if err := f(page); err != nil {
			return err
		}
	}
}

// selected are the dead letters that a command is about to change. By their numbers: what dies later was not confirmed.
type selected struct {
	count   int                // of dead letters
	seqs    []int64            // of their events, each once, in order
	targets map[int64][]string // that gave up, by event
	letters []admin.DeadLetter // for a dry run only
}

// find returns the dead letters that filter selects. An event that is selected by number and is not dead is an error.
func (d deadSelection) find(ctx context.Context, client *admin.Client, filter admin.DeadFilter) (selected, error) {
	found := selected{targets: map[int64][]string{}}
	err := eachDeadPage(ctx, client, filter, func(page []admin.DeadLetter) error {
		for _, letter := range page {
			if len(found.targets[letter.Seq]) == 0 {
				found.seqs = append(found.seqs, letter.Seq)
			}
			found.targets[letter.Seq] = append(found.targets[letter.Seq], letter.Target)
		}
		found.count += len(page)
		if d.DryRun {
			found.letters = append(found.letters, inUTC(page)...)
		}
		return nil
	})
	if err != nil {
		return found, err
	}
	return found, notDead(ctx, client, filter, found.seqs)
}

// notDead returns an error that names the events that were selected by number and have no dead letter.
func notDead(ctx context.Context, client *admin.Client, filter admin.DeadFilter, dead []int64) error {
	var missing []int64
	for _, seq := range filter.Seqs {
		if _, found := slices.BinarySearch(dead, seq); !found && !slices.Contains(missing, seq) {
			missing = append(missing, seq)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	events, err := client.Events(ctx, missing, 0)
	if err != nil {
		return err
	}
	var wrong []string
	for _, seq := range missing {
		switch exists := slices.ContainsFunc(events, func(e admin.Event) bool { return e.Seq == seq }); {
		case !exists:
			wrong = append(wrong, fmt.Sprintf("there is no event %d", seq))
		case filter.Tenant+filter.Topic+filter.Target+filter.Destination+filter.Error != "" || !filter.Since.IsZero() || !filter.Until.IsZero():
			wrong = append(wrong, fmt.Sprintf("event %d has no dead letter that the other filters select", seq))
		default:
			wrong = append(wrong, fmt.Sprintf("event %d is not dead", seq))
		}
	}
	return failf("%s; nothing was changed", strings.Join(wrong, "; "))
}

// letters formats a number of dead letters.
func letters(n int) string {
	return english.Count(n, "dead letter", "dead letters")
}

// inUTC converts the times of list to UTC, in place, so that output depends on neither the machine nor the driver.
func inUTC(list []admin.DeadLetter) []admin.DeadLetter {
	for i := range list {
		d := &list[i]
		d.FailedAt, d.DiedAt, d.CreatedAt = d.FailedAt.UTC(), d.DiedAt.UTC(), d.CreatedAt.UTC()
	}
	return list
}

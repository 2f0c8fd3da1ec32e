package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/bento-outbox/watermill-outbox/admin"
	"github.com/bento-outbox/watermill-outbox/internal/english"
	"github.com/bento-outbox/watermill-outbox/router"
)

type deadReplay struct {
	deadSelection
	routingFlags
	AllowWhen bool `help:"Allow when in the routing configs of events, like allow_when_per_event of run."`
}

// replayed is the output of --json.
type replayed struct {
	DryRun   bool               `json:"dry_run"`
	Replayed int                `json:"replayed"`          // dead letters; in a dry run, those that would be
	Letters  []admin.DeadLetter `json:"letters,omitempty"` // in a dry run
	Refused  []refusal          `json:"refused"`
}

// refusal is an event that would die again at once.
type refusal struct {
	Seq   int64  `json:"seq"`
	Error string `json:"error"`
}

// Run makes dead letters due again, except for events that cannot be routed.
func (c *deadReplay) Run(s *session) error {
	target, filter := c.deadSelection.check(s)
	config := c.routingFlags.check(s)
	config.AllowExprPerEvent = config.AllowExprPerEvent || c.AllowWhen
	if err := s.faults.Err(); err != nil {
		return err
	}
	table, err := router.NewTable(config)
	if err != nil {
		return err
	}
	return s.withAdmin(target, func(ctx context.Context, client *admin.Client) error {
		found, err := c.find(ctx, client, filter)
		if err != nil {
			return err
		}
		result := replayed{DryRun: c.DryRun, Refused: []refusal{}}
		refused := map[int64]bool{}
		for seqs := range slices.Chunk(found.seqs, deadPage) {
			var events []admin.Event
			if events, err = client.Events(ctx, seqs, 0); err != nil {
				break
			}
			filter.Seqs = nil
			for i := range events {
				e := &events[i]
				if fault := routable(table, config.Publishers, e, found.targets[e.Seq]); fault != nil {
					result.Refused, refused[e.Seq] = append(result.Refused, refusal{e.Seq, oneLine(fault.Error())}), true
					continue
				}
				filter.Seqs = append(filter.Seqs, e.Seq)
			}
			if c.DryRun || len(filter.Seqs) == 0 {
				continue
			}
			var n int
			n, err = client.Replay(ctx, filter)
			if result.Replayed += n; err != nil {
				break
			}
		}
		for _, letter := range found.letters {
			if !refused[letter.Seq] {
				result.Letters = append(result.Letters, letter)
				result.Replayed++
			}
		}
		if printErr := c.print(s, result); err == nil {
			err = printErr
		}
		if n := len(refused); err == nil && n > 0 {
			err = failf("%d of %d events cannot be routed and %s dead", n, len(found.seqs), english.Either(n, "stays", "stay"))
		}
		return err
	})
}

// routable returns the reason why a forwarder would not deliver e to targets, or nil.
func routable(table *router.Table, known []string, e *admin.Event, targets []string) error {
	if e.RoutingConfig == "" && e.RoutingKey != "" && len(known) > 0 {
		config, err := router.SimpleRouting(e.RoutingKey).JSON()
		if err != nil {
			return err
		}
		if err := table.Validate(config); err != nil {
			return fmt.Errorf("routing_key: %w", err)
		}
		return nil
	}
	plan, err := table.Resolve(&router.Event{Topic: e.Topic, RoutingKey: e.RoutingKey, RoutingConfig: e.RoutingConfig})
	if err != nil || e.RoutingConfig == "" {
		return err
	}
	for _, name := range targets {
		// The forwarder would skip the delivery, because its target is gone.
		if name != admin.Unrouted && !slices.ContainsFunc(plan.Targets, func(t *router.Target) bool { return t.Name == name }) && (plan.Fallback == nil || plan.Fallback.Name != name) {
			return fmt.Errorf("routing_config has no target %q, so a replay would deliver nothing; publish the event again and discard this one", name)
		}
	}
	return nil
}

func (c *deadReplay) print(s *session, r replayed) error {
	if c.JSON {
		return newEncoder(s.stdout).Encode(r)
	}
	for _, one := range r.Refused {
		fmt.Fprintf(s.stderr, "outbox: event %d: %s\n", one.Seq, printable(one.Error))
	}
	if !c.DryRun {
		_, err := fmt.Fprintln(s.stdout, "replayed", letters(r.Replayed))
		return err
	}
	if err := writeLetters(s.stdout, r.Letters); err != nil {
		return err
	}
	_, err := fmt.Fprintln(s.stdout, "would replay", letters(r.Replayed))
	return err
}

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

// replayed is what --json prints.
type replayed struct {
	DryRun   bool               `json:"dry_run"`
	Replayed int                `json:"replayed"`          // dead letters; those that would be, in a dry run
	Letters  []admin.DeadLetter `json:"letters,omitempty"` // of a dry run
	Refused  []refusal          `json:"refused"`
}

// refusal is an event that would be dead again at once.
type refusal struct {
	Seq   int64  `json:"seq"`
	Error string `json:"error"`
}

// Run makes dead letters due again, but for those of events that cannot be routed.
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
		found, err := c.find(ctx, target, client, filter)
		if err != nil {
			return err
		}
		result := replayed{DryRun: c.DryRun, Refused: []refusal{}}
		refused := map[int64]bool{}
		err = batches(found.seqs, func(seqs []int64) error {
			events, err := client.Events(ctx, seqs, 0)
			if err != nil {
				return err
			}
			only := filter
			only.Seqs = seqs
			targets := map[int64][]string{} // that gave up
			err = eachDeadPage(ctx, client, only, func(page []admin.DeadLetter) error {
				for _, letter := range page {
					targets[letter.Seq] = append(targets[letter.Seq], letter.Target)
				}
				return nil
			})
			if err != nil {
				return err
			}
			only.Seqs = nil
			for i := range events {
				if err := routable(table, config.Publishers, &events[i], targets[events[i].Seq]); err != nil {
					result.Refused = append(result.Refused, refusal{events[i].Seq, oneLine(err.Error())})
					refused[events[i].Seq] = true
					continue
				}
				only.Seqs = append(only.Seqs, events[i].Seq)
			}
			if c.DryRun || len(only.Seqs) == 0 {
				return nil
			}
			n, err := client.Replay(ctx, only)
			result.Replayed += n
			return err
		})
		for _, letter := range found.letters {
			if !refused[letter.Seq] {
				result.Letters = append(result.Letters, letter)
				result.Replayed++
			}
		}
		if printErr := c.print(s, result); err == nil {
			err = printErr
		} else {
			err = target.explain(err)
		}
		if err == nil && len(refused) > 0 {
			err = fmt.Errorf("%d of %d events cannot be routed and %s dead", len(refused), len(found.seqs), english.Either(len(refused), "stays", "stay"))
		}
		return err
	})
}

// routable tells why the forwarder would not deliver e to targets.
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
		// The forwarder would find nobody who wants it, and skip it.
		if name != admin.Unrouted && !slices.ContainsFunc(plan.Targets, func(t *router.Target) bool { return t.Name == name }) && (plan.Fallback == nil || plan.Fallback.Name != name) {
			return fmt.Errorf("routing_config has no target %q, so that a replay would deliver it to nobody; publish the event anew and discard this one", name)
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

package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/bento-outbox/watermill-outbox/admin"
)

type deadDiscard struct {
	deadSelection
	confirmation
}

// discarded is the output of --json.
type discarded struct {
	DryRun    bool               `json:"dry_run"`
	Discarded int                `json:"discarded"`         // dead letters; in a dry run, those that would be
	Letters   []admin.DeadLetter `json:"letters,omitempty"` // in a dry run
}

// Run ends dead letters without a delivery, after confirmation.
func (c *deadDiscard) Run(s *session) error {
	target, filter := c.check(s)
	if !c.DryRun {
		c.required(s, "dead discard drops events for good: set --yes, or look first with --dry-run")
	}
	return s.withAdmin(target, func(ctx context.Context, client *admin.Client) error {
		found, err := c.find(ctx, client, filter)
		if err != nil {
			return err
		}
		if c.DryRun {
			return c.print(s, discarded{DryRun: true, Discarded: found.count, Letters: found.letters})
		}
		if found.count > 0 {
			if err := c.confirm(s, "Discard %s in %s? They will never be delivered.", letters(found.count), target.name); err != nil {
				return err
			}
		}
		var result discarded
		for filter.Seqs = range slices.Chunk(found.seqs, deadPage) {
			var n int
			n, err = client.Discard(ctx, filter)
			if result.Discarded += n; err != nil {
				break
			}
		}
		if printErr := c.print(s, result); err == nil {
			return printErr
		}
		return err
	})
}

func (c *deadDiscard) print(s *session, d discarded) error {
	if c.JSON {
		return newEncoder(s.stdout).Encode(d)
	}
	if !c.DryRun {
		_, err := fmt.Fprintln(s.stdout, "discarded", letters(d.Discarded))
		return err
	}
	if err := writeLetters(s.stdout, d.Letters); err != nil {
		return err
	}
	_, err := fmt.Fprintln(s.stdout, "would discard", letters(d.Discarded))
	return err
}

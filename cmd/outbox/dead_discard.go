package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/bento-outbox/watermill-outbox/admin"
)

type deadDiscard struct {
	deadSelection
	Yes bool `short:"y" help:"Do not ask for confirmation."`
}

// discarded is what --json prints.
type discarded struct {
	DryRun    bool               `json:"dry_run"`
	Discarded int                `json:"discarded"`         // dead letters; those that would be, in a dry run
	Letters   []admin.DeadLetter `json:"letters,omitempty"` // of a dry run
}

// Run ends dead letters without a delivery, after somebody said yes.
func (c *deadDiscard) Run(s *session) error {
	target, filter := c.check(s)
	ask := !c.Yes && !c.DryRun && s.isTerminal(s.stdin)
	if !c.Yes && !c.DryRun && !ask {
		s.faults.Add("dead discard gives events up for good: say --yes, or look first with --dry-run")
	}
	return s.withAdmin(target, func(ctx context.Context, client *admin.Client) error {
		found, err := c.find(ctx, target, client, filter)
		if err != nil {
			return err
		}
		if c.DryRun {
			return c.print(s, discarded{DryRun: true, Discarded: found.count, Letters: found.letters})
		}
		if ask && found.count > 0 {
			fmt.Fprintf(s.stderr, "Discard %s in %s, so that they are never delivered? Type yes: ", letters(found.count), target.name)
			answer, _ := bufio.NewReader(s.stdin).ReadString('\n')
			if strings.TrimSpace(answer) != "yes" {
				return errors.New("nothing was changed, for the answer was not yes")
			}
		}
		var result discarded
		// By their numbers: an event that dies only now was not in what the answer was about.
		err = batches(found.seqs, func(seqs []int64) error {
			only := filter
			only.Seqs = seqs
			n, err := client.Discard(ctx, only)
			result.Discarded += n
			return err
		})
		if printErr := c.print(s, result); err == nil {
			return printErr
		}
		return target.explain(err)
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

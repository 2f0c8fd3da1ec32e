package main

import (
	"context"
	"strings"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// follower reads events in the order of their sequence numbers, and comes back for those that commit late.
//
// A gap in the numbers belongs to a transaction that is open, or to one that was rolled back. One that is open holds a write lock on
// the table (see [store.Store.Writers]). So a gap is checked until all transactions have ended that held a lock after the gap was seen.
type follower struct {
	store  *store.Store
	look   store.Look // what of an event is looked at
	head   int64      // everything up to it was read, except for the gaps
	gaps   []gap
	missed int64 // gaps given up, because there were too many
}

type gap struct {
	seq     int64
	asked   bool // the writers that may fill it are known
	writers map[string]bool
}

const (
	followPage = 1000
	mostGaps   = 10_000
)

// begin returns the last stored events, at most lines of them.
func (f *follower) begin(ctx context.Context, lines int) ([]store.Glance, error) {
	l := f.look
	l.Last = max(lines, followPage)
	if len(l.Filter.Tenants)+len(l.Filter.Topics) > 0 {
		l.Last = tailWindow
	}
	l.Limit = l.Last
	all, err := f.store.Look(ctx, l)
	if err != nil {
		return nil, err
	}
	// Older gaps were rolled back or cleaned up.
	if recent := all[max(0, len(all)-followPage):]; len(recent) > 0 {
		f.head = recent[0].Seq - 1
		if len(all) < min(l.Last, followPage+1) { // there are no more
			f.head = max(0, f.head-followPage)
		}
		f.pass(recent)
	} else if mark, err := f.store.Ask(ctx); err != nil {
		return nil, err
	} else if mark.Last > 0 {
		f.head = max(0, mark.Last-followPage) // open transactions may have taken some of these numbers
	}
	shown := seen(all)
	return shown[max(0, len(shown)-lines):], nil
}

// next returns the events that were committed since the last call. Events that it returns together with an error are not returned again.
func (f *follower) next(ctx context.Context) ([]store.Glance, error) {
	writers, err := f.store.Writers(ctx)
	if err != nil {
		return nil, err
	}
	open := make(map[string]bool, len(writers))
	for _, w := range writers {
		open[w.Name] = true
	}
	for i := range f.gaps {
		if g := &f.gaps[i]; !g.asked {
			g.asked, g.writers = true, open
		}
	}
	mark, err := f.store.Ask(ctx)
	if err != nil {
		return nil, err
	}
	if mark.Last < f.head { // another database, or the tables were created again
		f.head, f.gaps = 0, nil
	}
	list, err := f.late(ctx, open)
	if err != nil {
		return nil, err
	}
	for {
		l := f.look
		l.After, l.Limit = f.head, followPage
		page, err := f.store.Look(ctx, l)
		if err != nil {
			return list, err
		}
		f.pass(page)
		list = append(list, seen(page)...)
		if len(page) < followPage || len(list) > tailWindow {
			return list, nil
		}
	}
}

// late returns events that filled gaps, and forgets gaps that nobody can fill any more.
func (f *follower) late(ctx context.Context, open map[string]bool) ([]store.Glance, error) {
	if len(f.gaps) == 0 {
		return nil, nil
	}
	l := f.look
	l.Seqs, l.Limit = make([]int64, len(f.gaps)), len(f.gaps)
	for i, g := range f.gaps {
		l.Seqs[i] = g.seq
	}
	list, err := f.store.Look(ctx, l)
	if err != nil {
		return nil, err
	}
	filled := make(map[int64]bool, len(list))
	for _, g := range list {
		filled[g.Seq] = true
	}
	kept := f.gaps[:0]
	for _, g := range f.gaps {
		if !filled[g.seq] && g.fillable(open) {
			kept = append(kept, g)
		}
	}
	f.gaps = kept
	return seen(list), nil
}

func (g gap) fillable(open map[string]bool) bool {
	for name := range open {
		// A transaction gets another name when it is prepared.
		if g.writers[name] || strings.HasPrefix(name, "-1/") {
			return true
		}
	}
	return false
}

// pass moves the head past events and records the gaps between them.
func (f *follower) pass(page []store.Glance) {
	for _, g := range page {
		from := max(f.head+1, g.Seq-mostGaps)
		f.missed += from - f.head - 1
		for seq := from; seq < g.Seq; seq++ {
			f.gaps = append(f.gaps, gap{seq: seq})
		}
		f.head = g.Seq
	}
	if many := len(f.gaps) - mostGaps; many > 0 {
		f.missed += int64(many)
		f.gaps = append([]gap(nil), f.gaps[many:]...)
	}
}

// seen drops events that the filter does not select.
func seen(list []store.Glance) []store.Glance {
	kept := make([]store.Glance, 0, len(list))
	for _, g := range list {
		if g.Status != "" {
			kept = append(kept, g)
		}
	}
	return kept
}

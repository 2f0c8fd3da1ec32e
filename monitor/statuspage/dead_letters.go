package statuspage

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/bento-outbox/watermill-outbox/admin"
	"github.com/bento-outbox/watermill-outbox/internal/store"
)

const deadShown = 50 // per page

// dead returns a page of dead letters, and one more if there are others.
func (p *page) dead(ctx context.Context, filter admin.DeadFilter, after *admin.DeadLetter) ([]admin.DeadLetter, error) {
	select {
	case p.querying <- struct{}{}:
		defer func() { <-p.querying }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return p.m.Admin().DeadLetters(ctx, filter, after, deadShown+1)
}

// deadValues is the reverse of deadQuery, for links.
func deadValues(f admin.DeadFilter) url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"destination": f.Destination, "tenant": f.Tenant, "topic": f.Topic} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// deadQuery returns the dead letters that a query string asks for, and the last one that was shown before.
func deadQuery(raw string) (f admin.DeadFilter, after *admin.DeadLetter, err error) {
	q, err := url.ParseQuery(raw)
	if err != nil {
		return f, nil, errors.New("cannot read the query; want name=value, percent-encoded and separated by &")
	}
	for _, name := range []string{"destination", "tenant", "topic", "after_target"} {
		if err := store.CheckText(q.Get(name), store.MaxTarget); err != nil {
			return f, nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	f = admin.DeadFilter{Destination: q.Get("destination"), Tenant: q.Get("tenant"), Topic: q.Get("topic")}
	if text := q.Get("after"); text != "" {
		seq, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return f, nil, errors.New("after: want a number")
		}
		after = &admin.DeadLetter{Seq: seq, Target: q.Get("after_target")}
	}
	return f, after, nil
}

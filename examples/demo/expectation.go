package main

import (
	"context"

	"github.com/bento-outbox/watermill-outbox/router"
)

// expectation is what should have become of the committed events. It comes from the events in the database and from the
// routes, and owes nothing to the forwarder.
type expectation struct {
	deliveries    map[string][]delivery // by destination
	dead, skipped int
}

// delivery is an event that a destination should get.
type delivery struct {
	event   string // its id
	key     string // that it is kept in order by; empty when it stands outside
	seq     int64
	payload string
}

func expect(ctx context.Context, db *database, routes *router.Table) (*expectation, int, error) {
	events, err := db.committedEvents(ctx)
	if err != nil {
		return nil, 0, err
	}
	want := &expectation{deliveries: map[string][]delivery{}}
	for _, e := range events {
		want.add(&e, router.Explain(routes, &e.Event, nil))
	}
	return want, len(events), nil
}

func (w *expectation) add(e *event, x router.Explanation) {
	if x.Error != "" {
		w.dead++
		w.deliveries[poison] = append(w.deliveries[poison], delivery{event: e.ID, payload: string(e.Payload)})
		return
	}
	wanted := false
	for _, d := range x.Deliveries {
		wanted = wanted || d.Reason != router.Condition
		if d.Decision != "deliver" {
			continue
		}
		due := delivery{event: e.ID, key: e.AggregateID, seq: e.seq, payload: string(d.Bytes)}
		if d.DelaySeconds > 0 {
			due.key = ""
		}
		w.deliveries[d.Destination] = append(w.deliveries[d.Destination], due)
	}
	if !wanted {
		w.skipped++
	}
}

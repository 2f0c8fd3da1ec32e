package main

import (
	"context"
	"database/sql"
	"time"

	"github.com/bento-outbox/watermill-outbox/router"
	"github.com/bento-outbox/watermill-outbox/schema"
)

// statuses counts the events of the outbox by status, as an operator would.
func (d *database) statuses(ctx context.Context) (map[schema.Status]int, error) {
	rows, err := d.QueryContext(ctx, `SELECT status, count(*) FROM `+d.outbox.Names.Prefix+`_events GROUP BY status`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	counts := map[schema.Status]int{}
	for rows.Next() {
		var status schema.Status
		var n int
		if err := rows.Scan(&status, &n); err != nil {
			return nil, err
		}
		counts[status] = n
	}
	return counts, rows.Err()
}

// waitUntilForwarded returns when no event is left to forward, or when nothing has changed for a long time: what is
// missing then is the report's to tell.
func (d *database) waitUntilForwarded(ctx context.Context) error {
	const patience = 20 * time.Second
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for least, since := -1, time.Now(); time.Since(since) < patience; {
		counts, err := d.statuses(ctx)
		if err != nil {
			return err
		}
		left := counts[schema.StatusNew] + counts[schema.StatusFailed]
		if left == 0 {
			return nil
		}
		if least < 0 || left < least {
			least, since = left, time.Now()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// event is a row of the outbox, as routing sees it.
type event struct {
	router.Event
	seq int64
}

// committedEvents returns the events that the outbox has. Rows are never changed, so it does not matter when.
func (d *database) committedEvents(ctx context.Context) ([]event, error) {
	rows, err := d.QueryContext(ctx, `SELECT seq, id, topic, aggregate_type, aggregate_id, payload, routing_config
		FROM `+d.outbox.Names.Prefix+` ORDER BY seq`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var events []event
	for rows.Next() {
		var e event
		var routing sql.NullString
		if err := rows.Scan(&e.seq, &e.ID, &e.Topic, &e.AggregateType, &e.AggregateID, &e.Payload, &routing); err != nil {
			return nil, err
		}
		e.RoutingConfig = routing.String
		events = append(events, e)
	}
	return events, rows.Err()
}

// deadLetter is an event that was given up.
type deadLetter struct {
	id, topic, cause string
}

func (d *database) deadLetters(ctx context.Context) ([]deadLetter, error) {
	rows, err := d.QueryContext(ctx, `SELECT id, topic, error_message
		FROM `+d.outbox.Names.Prefix+`_events WHERE status = 'DEAD' ORDER BY seq`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var letters []deadLetter
	for rows.Next() {
		var l deadLetter
		if err := rows.Scan(&l.id, &l.topic, &l.cause); err != nil {
			return nil, err
		}
		letters = append(letters, l)
	}
	return letters, rows.Err()
}

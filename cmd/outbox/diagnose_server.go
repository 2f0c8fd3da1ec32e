package main

import (
	"context"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/monitor"
)

// vacuum finds deleted rows that are not removed, which slow reading down, and what keeps vacuum from removing them.
func (e *examiner) vacuum(ctx context.Context) error {
	const many = 50_000 // autovacuum begins at 20,000
	tables, err := e.store.DeletedRows(ctx)
	if err != nil {
		return err
	}
	bloated := false
	for _, d := range tables {
		if d.Deleted >= many && d.Deleted > d.Rows {
			bloated = true
			e.add("vacuum", monitor.Warning, "End what holds them, if anything is named here, then: VACUUM "+d.Table+";",
				"Of %s, %d deleted rows are not removed, beside %d that are there. Reading gets slower.", d.Table, d.Deleted, d.Rows)
		}
	}
	if err := e.transactions(ctx, bloated); err != nil {
		return err
	}
	slots, err := e.store.UnreadSlots(ctx)
	for _, s := range slots {
		e.unread(s)
	}
	return err
}

// muchLog is the size in bytes of the log kept for a replication slot from which it is a warning: 1 GiB.
const muchLog = 1 << 30

// unread adds a replication slot without a reader.
func (e *examiner) unread(s store.ReplicationSlot) {
	level, holds := monitor.Info, ""
	if s.Holds || s.Bytes >= muchLog {
		level = monitor.Warning
	}
	if s.Holds {
		holds = ", and vacuum from removing rows"
	}
	e.add("replication_slots", level, "If nobody will read it any more, for its reader would have to be set up anew: SELECT pg_drop_replication_slot('"+s.Name+"');",
		"Nobody reads the replication slot %s. It keeps the server from removing %s of its log%s.", s.Name, size(s.Bytes), holds)
}

// transactions finds those that have been open for long, or, if deleted rows are not removed, all that may be the reason.
func (e *examiner) transactions(ctx context.Context, bloated bool) error {
	level, age := monitor.Info, time.Hour
	if bloated {
		level, age = monitor.Warning, time.Second
	}
	list, err := e.store.LongTransactions(ctx, age, bloated)
	for _, l := range list {
		e.add("transactions", level, "If it is of no use any more: "+l.End, "A transaction is open since %s: %s. It delays no event but its own, and keeps vacuum from removing rows.",
			l.Age.Round(time.Second), l.Name)
	}
	return err
}

// connections finds that the server is close to its limit of connections.
func (e *examiner) connections(ctx context.Context) error {
	const share = 0.9
	used, most, err := e.store.Connections(ctx)
	if most > 0 && float64(used) >= share*float64(most) {
		e.add("connections", monitor.Warning, "See who has them: SELECT usename, application_name, state, count(*) FROM pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 4 DESC;"+
			" Make pools smaller, put PgBouncer in front, or raise max_connections.",
			"%d of the %d connections that the server takes are in use.", used, most)
	}
	return err
}

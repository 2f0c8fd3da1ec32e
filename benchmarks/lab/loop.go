package lab

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5"
)

// loop is what somebody would write by hand on our tables: read a batch of every slot, send it, delete what was sent. It keeps the order of keys
// by sending one event after the other, and does nothing else: no routing, no retry, no lease, no late committers.
func loop(ctx context.Context, r run) error {
	conn, err := pgx.Connect(ctx, r.dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	const slots, each = 64, 16
	heads := make([]int64, slots)
	numbers := make([]int16, slots)
	for i := range numbers {
		numbers[i] = int16(i)
	}
	sent := context.WithoutCancel(ctx) // what was sent is deleted
	for ctx.Err() == nil {
		rows, err := conn.Query(sent, `SELECT p.slot, p.seq, e.id, e.aggregate_type, e.aggregate_id, e.topic, e.payload, e.event_metadata::text
			FROM unnest($1::smallint[], $2::bigint[]) AS s(slot, after)
			CROSS JOIN LATERAL (SELECT slot, seq FROM outbox_pending p WHERE p.slot = s.slot AND p.seq > s.after ORDER BY p.seq LIMIT $3) p
			CROSS JOIN LATERAL (SELECT * FROM outbox e WHERE e.seq = p.seq LIMIT 1) e`, numbers, heads, each)
		if err != nil {
			return err
		}
		var doneSlots []int16
		var done []int64
		var slot int16
		var seq int64
		var id, kind, aggregate, topic, metadata string
		var payload []byte
		_, err = pgx.ForEachRow(rows, []any{&slot, &seq, &id, &kind, &aggregate, &topic, &payload, &metadata}, func() error {
			msg := message.NewMessageWithContext(ctx, id, payload)
			payload = nil
			if err := json.Unmarshal([]byte(metadata), &msg.Metadata); err != nil {
				return err
			}
			msg.Metadata["seq"], msg.Metadata["aggregate_type"], msg.Metadata["aggregate_id"] = strconv.FormatInt(seq, 10), kind, aggregate
			if err := r.to.Publish(topic, msg); err != nil {
				return err
			}
			doneSlots, done = append(doneSlots, slot), append(done, seq)
			heads[slot] = seq
			return nil
		})
		if err != nil {
			return err
		}
		if len(done) == 0 {
			return nil
		}
		if _, err := conn.Exec(sent, `DELETE FROM outbox_pending p USING unnest($1::smallint[], $2::bigint[]) AS x(slot, seq)
			WHERE p.slot = x.slot AND p.seq = x.seq`, doneSlots, done); err != nil {
			return err
		}
	}
	return nil
}

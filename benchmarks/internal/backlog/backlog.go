// Package backlog fills databases with events that wait to be forwarded. Every system gets the same events, in the same order and in
// transactions of the same size; the number and the ordering key of an event are in its UUID, see package sink.
package backlog

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/bento-outbox/watermill-outbox/benchmarks/internal/sink"
)

const (
	// Topic is where all events go.
	Topic = "watermill-outbox-bench"
	// PerTransaction is how many events commit together.
	PerTransaction = 10
	// PayloadSize is the length in bytes of what [Payload] returns.
	PayloadSize = 300
)

// Keys returns the ordering keys, from 0, of n events; always the same ones for the same arguments. With a zipf of 0 they are uniform.
func Keys(n, keys int, zipf float64) []int32 {
	r := rand.New(rand.NewPCG(1, 2))
	next := func() int32 { return r.Int32N(int32(keys)) }
	if zipf > 0 {
		z := rand.NewZipf(r, zipf, 1, uint64(keys-1))
		next = func() int32 { return int32(z.Uint64()) }
	}
	list := make([]int32, n)
	for i := range list {
		list[i] = next()
	}
	return list
}

// Payload returns the payload of an event.
func Payload(key, number int) []byte {
	b := []byte(`{"number":` + strconv.Itoa(number) + `,"key":` + strconv.Itoa(key) + `,"text":"`)
	for len(b) < PayloadSize-2 {
		b = append(b, 'x')
	}
	return append(b, `"}`...)
}

// Expressions over the columns key and n of a row of the source.
var (
	uuid     = sink.SQLID("key", "n")
	metadata = `'{"correlation_id":"' || ` + uuid + ` || '"}'`
)

// A payload of size bytes; half of its text cannot be compressed.
func payload(size int) string {
	return fmt.Sprintf(`rpad('{"number":' || n || ',"key":' || key || ',"text":"' || left(repeat(md5(n::text), 1 + %[1]d / 64), %[1]d / 2), %[1]d - 2, 'x') || '"}'`, size)
}

// Ours stores events with payloads of a size as outbox.Publisher does.
func Ours(size int) string {
	return `INSERT INTO outbox (id, aggregate_type, aggregate_id, topic, payload, event_metadata)
		SELECT ` + uuid + `, 'order', key::text, '` + Topic + `', ` + payload(size) + `, (` + metadata + `)::json`
}

// Stock stores events as the publisher decorator of Watermill's forwarder does: each in an envelope.
func Stock(size int) string {
	return `INSERT INTO watermill_forwarder_topic (uuid, payload, metadata, transaction_id)
		SELECT gen_random_uuid()::text, ('{"destination_topic":"` + Topic + `","uuid":"' || ` + uuid + ` || '","payload":"' ||
			replace(encode(convert_to(` + payload(size) + `, 'UTF8'), 'base64'), E'\n', '') || '","metadata":' || ` + metadata + ` || '}')::json,
			'{}'::json, pg_current_xact_id()`
}

// Finish stores n events with insert, which is that of [Ours], that are finished.
func Finish(ctx context.Context, conn *pgx.Conn, insert string, n int) error {
	steps := []func() error{
		exec(ctx, conn, `SET synchronous_commit = off`), // of the filling only
		exec(ctx, conn, `ALTER TABLE outbox DISABLE TRIGGER USER`),
		exec(ctx, conn, fmt.Sprintf(`DO $do$ BEGIN
			FOR i IN 1..%d BY 10000 LOOP
				%s FROM (SELECT n, n %% 10000 AS key FROM generate_series(i, least(i + 9999, %[1]d)) n) s;
				COMMIT;
			END LOOP;
		END $do$`, n, insert)),
		exec(ctx, conn, `ALTER TABLE outbox ENABLE TRIGGER USER`),
		exec(ctx, conn, `RESET synchronous_commit`),
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("fill with finished events: %w", err)
		}
	}
	return nil
}

// Fill stores one event a key with insert, which is that of [Ours] or [Stock], and leaves the tables vacuumed and analyzed.
func Fill(ctx context.Context, conn *pgx.Conn, insert string, keys []int32) error {
	steps := []func() error{
		exec(ctx, conn, `SET synchronous_commit = off`), // of the filling only
		exec(ctx, conn, `CREATE TABLE bench_source (n bigint PRIMARY KEY, key integer NOT NULL)`),
		func() error {
			_, err := conn.CopyFrom(ctx, pgx.Identifier{"bench_source"}, []string{"n", "key"},
				pgx.CopyFromSlice(len(keys), func(i int) ([]any, error) { return []any{int64(i + 1), keys[i]}, nil }))
			return err
		},
		exec(ctx, conn, `ANALYZE bench_source`),
		exec(ctx, conn, fmt.Sprintf(`DO $do$ BEGIN
			FOR i IN 1..%d BY %d LOOP
				%s FROM bench_source WHERE n >= i AND n < i + %[2]d ORDER BY n;
				COMMIT;
			END LOOP;
		END $do$`, len(keys), PerTransaction, insert)),
		exec(ctx, conn, `DROP TABLE bench_source`),
		exec(ctx, conn, `RESET synchronous_commit`),
		exec(ctx, conn, `VACUUM (ANALYZE)`),
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("fill the backlog: %w", err)
		}
	}
	return nil
}

func exec(ctx context.Context, conn *pgx.Conn, query string) func() error {
	return func() error {
		_, err := conn.Exec(ctx, query, pgx.QueryExecModeSimpleProtocol)
		return err
	}
}

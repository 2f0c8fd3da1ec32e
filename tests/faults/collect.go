package faults

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	outbox "github.com/bento-outbox/watermill-outbox"
	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// readJournal returns the transactions of the workload, with what the business rows say of them.
func readJournal(ctx context.Context, file string, db *sql.DB) ([]Transaction, error) {
	rows, err := db.QueryContext(ctx, "SELECT tx FROM business")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	there := map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		there[id] = true
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Clean(file))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []Transaction
	index := map[string]int{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var line journalLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, err
		}
		i, known := index[line.Tx]
		if !known {
			i = len(list)
			index[line.Tx] = i
			list = append(list, Transaction{ID: line.Tx, Outcome: Unknown, Row: there[line.Tx]})
		}
		tx := &list[i]
		tx.Events, tx.Undone, tx.At = append(tx.Events, line.Events...), append(tx.Undone, line.Undone...), line.At
		if line.Outcome != "" {
			tx.Outcome = line.Outcome
		}
	}
	return list, lines.Err()
}

func readRefusals(file string) ([]Refusal, error) {
	f, err := os.Open(filepath.Clean(file))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []Refusal
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var r Refusal
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, lines.Err()
}

// arrival is a message with the headers that the checker looks at.
func arrival(destination string, partition int, at time.Time, payload []byte, header func(string) string) (Arrival, error) {
	a := Arrival{Destination: destination, Partition: partition, At: at, Payload: payload}
	var err1, err2 error
	a.Epoch, err1 = strconv.ParseInt(header(outbox.KeyEpoch), 10, 64)
	a.CreatedAt, err2 = time.Parse(time.RFC3339Nano, header(outbox.KeyCreatedAt))
	a.Slot = store.Slot("", header(outbox.KeyAggregateType)+":"+header(outbox.KeyAggregateID))
	if err := errors.Join(err1, err2); err != nil {
		return a, fmt.Errorf("headers of a message at %s: %w", destination, err)
	}
	return a, nil
}

func readKafka(ctx context.Context, addr, destination, topic string) ([]Arrival, error) {
	parts := map[int32]kgo.Offset{}
	left := map[int32]int64{}
	admin, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return nil, err
	}
	ends, err := kadm.NewClient(admin).ListEndOffsets(ctx, topic)
	admin.Close()
	if err != nil {
		return nil, err
	}
	if err := ends.Error(); err != nil {
		return nil, err
	}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			parts[o.Partition], left[o.Partition] = kgo.NewOffset().AtStart(), o.Offset
		}
	})
	if len(parts) == 0 {
		return nil, nil
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: parts}))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var list []Arrival
	for len(left) > 0 {
		fetches := c.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var failed error
		fetches.EachRecord(func(r *kgo.Record) {
			a, err := arrival(destination, int(r.Partition), r.Timestamp, r.Value, func(key string) string {
				for _, h := range r.Headers {
					if h.Key == key {
						return string(h.Value)
					}
				}
				return ""
			})
			failed = errors.Join(failed, err)
			list = append(list, a)
			if r.Offset >= left[r.Partition]-1 {
				delete(left, r.Partition)
			}
		})
		if failed != nil {
			return nil, failed
		}
	}
	return list, nil
}

func readRedis(ctx context.Context, addr, destination, stream string) ([]Arrival, error) {
	c := redis.NewClient(&redis.Options{Addr: addr, ReadTimeout: 30 * time.Second})
	defer c.Close()
	var list []Arrival
	from := "-"
	for {
		entries, err := c.XRangeN(ctx, stream, from, "+", 5000).Result()
		if err != nil {
			return nil, err
		}
		if len(entries) == 0 {
			return list, nil
		}
		for _, x := range entries {
			msg, err := redisstream.DefaultMarshallerUnmarshaller{}.Unmarshal(x.Values)
			if err != nil {
				return nil, err
			}
			text, _, _ := strings.Cut(x.ID, "-")
			ms, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return nil, err
			}
			a, err := arrival(destination, 0, time.UnixMilli(ms), msg.Payload, msg.Metadata.Get)
			if err != nil {
				return nil, err
			}
			list = append(list, a)
			from = "(" + x.ID
		}
	}
}

// collect reads what all destinations hold.
func collect(ctx context.Context, s *Servers, prefix string) ([]Arrival, error) {
	var all []Arrival
	for _, d := range destinations {
		name, topic, _ := strings.Cut(d, "://")
		read, addr := readKafka, s.Kafka.Addr
		if name == "redis" {
			read, addr = readRedis, s.Redis.Addr
		}
		list, err := read(ctx, addr, d, prefix+topic)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", d, err)
		}
		all = append(all, list...)
	}
	return all, nil
}

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"
)

// Partition is a part of a table of events that is partitioned.
type Partition struct {
	Name     string `json:"name"`
	From     int64  `json:"from"` // the first number that belongs in it
	To       int64  `json:"to"`   // the first that does not any more; 0, as From, for the default partition, which has all that belongs nowhere else
	Events   int64  `json:"events"`
	Bytes    int64  `json:"bytes"` // with its indexes
	schema   string
	detached bool
}

// Default tells whether p has what belongs nowhere else.
func (p Partition) Default() bool { return p.To == 0 && !p.detached }

func (p Partition) quoted() string { return `"` + p.schema + `"."` + p.Name + `"` }

// ErrPartitionInUse is returned by [Store.DropPartition] for one that cannot go yet.
var ErrPartitionInUse = errors.New("the partition is still in use")

// Partitions returns the partitions of the table of events by their ranges, the default one last; none when it is not partitioned. Events is an
// estimate.
func (s *Store) Partitions(ctx context.Context) ([]Partition, error) {
	list, err := s.partitions(ctx, s.db)
	return slices.DeleteFunc(list, func(p Partition) bool { return p.detached }), err
}

var partitionBound = regexp.MustCompile(`FROM \('?(-?\d+)'?\) TO \('?(-?\d+)'?\)`)

func (s *Store) partitions(ctx context.Context, db queryer) ([]Partition, error) {
	if s.q.partition.list == "" {
		return nil, nil
	}
	rows, err := db.QueryContext(ctx, s.q.partition.list)
	if err != nil {
		return nil, wrap("list partitions", err)
	}
	defer rows.Close()
	var list []Partition
	for rows.Next() {
		var p Partition
		var bound sql.NullString
		if err := rows.Scan(&p.schema, &p.Name, &bound, &p.Events, &p.Bytes); err != nil {
			return nil, wrap("list partitions", err)
		}
		p.detached = !bound.Valid
		if m := partitionBound.FindStringSubmatch(bound.String); m != nil {
			p.From, _ = strconv.ParseInt(m[1], 10, 64)
			p.To, _ = strconv.ParseInt(m[2], 10, 64)
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Partition) int {
		if a.Default() != b.Default() {
			return map[bool]int{true: 1, false: -1}[a.Default()]
		}
		return int(min(max(a.From-b.From, -1), 1))
	})
	return list, wrap("list partitions", rows.Err())
}

// AddPartitions makes partitions, as large as the newest, until there are ahead of them above the last number that was given out, and returns them. It
// waits at most a moment for locks; call it again when it fails. Publishers are held up only when they have come close: within half a partition,
// or 50,000 numbers. Any number of processes may.
func (s *Store) AddPartitions(ctx context.Context, ahead int) (added []Partition, err error) {
	if list, err := s.Partitions(ctx); err != nil || len(list) == 0 {
		return nil, err
	}
	for {
		var p Partition
		err := s.transact(ctx, "add a partition", func(tx *sqlx.Tx) error {
			p = Partition{}
			for _, query := range []string{s.q.partition.patience, s.q.partition.adding} {
				if _, err := tx.ExecContext(ctx, query); err != nil {
					return err
				}
			}
			var mark Mark
			if err := tx.QueryRowContext(ctx, s.q.ask).Scan(&mark.Last, &mark.Server); err != nil {
				return err
			}
			list, err := s.partitions(ctx, tx)
			if err != nil {
				return err
			}
			list = slices.DeleteFunc(list, func(p Partition) bool { return p.To == 0 })
			if len(list) == 0 {
				return nil
			}
			newest := list[len(list)-1]
			size := newest.To - newest.From
			if newest.To > mark.Last+int64(ahead)*size {
				return nil
			}
			if newest.To <= mark.Last+max(size/2, 50_000) {
				// Numbers of the new partition may be given out before it is there. Whoever is on the way to the default partition with one would fail.
				if _, err := tx.ExecContext(ctx, s.q.partition.stop); err != nil {
					return err
				}
				if err := tx.QueryRowContext(ctx, s.q.ask).Scan(&mark.Last, &mark.Server); err != nil {
					return err
				}
			}
			from := max(newest.To, mark.Last+1) // what was given out is in the default partition
			p = Partition{schema: newest.schema, From: from, To: from + size}
			p.Name = s.t.PartitionName(p.From)
			for _, query := range s.q.partition.add(p) {
				if _, err := tx.ExecContext(ctx, query); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || p.Name == "" {
			return added, err
		}
		added = append(added, p)
	}
}

// keptMost is how many events of a partition may be unfinished, dead or skipped when it goes. They move to the default partition, while publishers wait.
const keptMost = 10_000

// DropPartition drops a partition of which all numbers were given out and all events were stored before the given time. Events that are not
// finished, are dead or were skipped stay: they move to the default partition. It returns about how many events went with the partition, and exactly
// how many stay.
//
// The error wraps [ErrPartitionInUse] when there is anything newer, and is another when more than 10,000 would stay. Publishers and forwarders wait while the partition is
// taken out, which takes milliseconds once it has its lock; it waits for that for a tenth of a second, lets the others pass, and tries
// again, for as long as ctx lasts, at most 20 times.
func (s *Store) DropPartition(ctx context.Context, b CleanupBatch, p Partition) (gone, kept int64, err error) {
	if _, err := s.CheckPartition(ctx, b, p); err != nil {
		return 0, 0, err
	}
	const tries, wait = 20, time.Second
	for try := 1; ; try++ {
		kept, err = s.detach(ctx, p)
		if err == nil || try == tries || !s.d.LockTimeout(err) {
			break
		}
		select {
		case <-ctx.Done():
			return 0, 0, wrap("detach partition "+p.Name, err)
		case <-time.After(wait):
		}
	}
	if err != nil {
		return 0, 0, wrap("detach partition "+p.Name, err)
	}
	if _, err := s.db.ExecContext(ctx, s.q.partition.drop(p)); err != nil {
		return 0, kept, wrap("drop detached partition "+p.Name, err)
	}
	return max(p.Events-kept, 0), kept, nil
}

// CheckPartition tells whether [Store.DropPartition] would drop p now, and how many of its events would stay. The error wraps [ErrPartitionInUse]
// when there is anything newer, and is another when too much would stay. It renews the lease of b's owner.
func (s *Store) CheckPartition(ctx context.Context, b CleanupBatch, p Partition) (kept int64, err error) {
	if p.To == 0 {
		return 0, fmt.Errorf("%s: %w: it is the default partition", p.Name, ErrPartitionInUse)
	}
	var last int64
	var newer bool
	if err := s.db.QueryRowContext(ctx, s.q.partition.newer(p), s.d.Time(b.Sent)).Scan(&last, &newer); err != nil {
		return 0, wrap("look at partition "+p.Name, err)
	}
	if last < p.To-1 || newer {
		return 0, fmt.Errorf("%s: %w: it has, or gets, events that are newer", p.Name, ErrPartitionInUse)
	}
	err = s.cleanup(ctx, b, "look at partition "+p.Name, func(tx *sqlx.Tx) error {
		seqs, err := s.keptOf(ctx, tx, p)
		kept = int64(len(seqs))
		return err
	})
	return kept, err
}

// keptOf returns the events of p that are not finished, are dead or were skipped.
func (s *Store) keptOf(ctx context.Context, tx *sqlx.Tx, p Partition) ([]int64, error) {
	seqs, _, err := seqList(ctx, tx, s.q.partition.kept, p.From, p.To, keptMost+1)
	if err == nil && len(seqs) > keptMost {
		err = fmt.Errorf("more than %d events of partition %s are not finished, are dead or were skipped; replay or discard dead letters", keptMost, p.Name)
	}
	return seqs, err
}

// detach takes p out, and moves what stays of it.
func (s *Store) detach(ctx context.Context, p Partition) (kept int64, err error) {
	err = s.once(ctx, func(tx *sqlx.Tx) error {
		for _, query := range []string{s.q.partition.patience, s.q.partition.lock} {
			if _, err := tx.ExecContext(ctx, query); err != nil {
				return err
			}
		}
		// Nobody has an event open that is not committed: all of them held a lock on the table.
		seqs, err := s.keptOf(ctx, tx, p)
		if err != nil {
			return err
		}
		kept = int64(len(seqs))
		list, err := s.partitions(ctx, tx)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(list, Partition.Default)
		if at < 0 && kept > 0 {
			return fmt.Errorf("%w: events of it must stay, and there is no default partition that could take them", ErrPartitionInUse)
		}
		for _, query := range s.q.partition.detach(p) {
			if _, err := tx.ExecContext(ctx, query); err != nil {
				return err
			}
		}
		if kept > 0 {
			_, err = tx.ExecContext(ctx, s.q.partition.move(p, list[at]), s.d.Ints(seqs))
		}
		return err
	})
	return kept, err
}

// DropDetached drops partitions that were taken out by a clean-up that died before it could drop them.
func (s *Store) DropDetached(ctx context.Context) error {
	list, err := s.partitions(ctx, s.db)
	for _, p := range list {
		if p.detached && err == nil {
			_, err = s.db.ExecContext(ctx, s.q.partition.drop(p))
		}
	}
	return wrap("drop detached partitions", err)
}

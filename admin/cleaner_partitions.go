package admin

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// partitionsAhead is how many partitions there are above the number that was given out last.
const partitionsAhead = 2

// extend makes partitions ahead, where events are partitioned. Without them the default partition takes what comes, so that failing is
// no more than a nuisance.
func (c *Cleaner) extend(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.QueryTimeout)
	defer cancel()
	added, err := c.store.AddPartitions(ctx, partitionsAhead)
	for _, p := range added {
		c.logger.Info("Added a partition", watermill.LogFields{"partition": p.Name, "from": p.From, "to": p.To})
	}
	if err != nil && ctx.Err() == nil {
		c.logger.Info("Cannot add a partition; trying again", watermill.LogFields{"err": err.Error()})
	}
}

// drop drops the partitions of which all is old. The error is about those that should have gone and are still there.
func (r *cleaning) drop(ctx context.Context, parts []store.Partition) error {
	var left []error
	if r.owner != "" {
		r.extend(ctx)
		left = append(left, r.store.DropDetached(ctx))
	}
	for _, p := range parts {
		if p.Default() {
			continue
		}
		gone, kept, err := r.dropOne(ctx, p)
		switch {
		case errors.Is(err, store.ErrPartitionInUse):
			r.logger.Debug("A partition stays", watermill.LogFields{"partition": p.Name, "why": err.Error()})
		case err != nil:
			left = append(left, err)
			if ctx.Err() != nil || errors.Is(err, store.ErrCleanupLost) {
				return errors.Join(left...)
			}
		default:
			r.result.Partitions = append(r.result.Partitions, DroppedPartition{Name: p.Name, Events: gone, Kept: kept})
		}
	}
	return errors.Join(left...)
}

func (r *cleaning) dropOne(ctx context.Context, p store.Partition) (gone, kept int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.QueryTimeout)
	defer cancel()
	if r.owner == "" {
		kept, err = r.store.CheckPartition(ctx, r.request(0), p)
		return max(p.Events-kept, 0), kept, err
	}
	began := time.Now()
	gone, kept, err = r.store.DropPartition(ctx, r.request(0), p)
	if err == nil {
		r.logger.Info("Dropped a partition", watermill.LogFields{"partition": p.Name, "events": gone, "kept": kept, "took": time.Since(began).String()})
	}
	return gone, kept, err
}

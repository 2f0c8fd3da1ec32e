package redis

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Limits of one pipeline. An argument that Redis may refuse by its size is above 1 MiB, the least value of
// proto-max-bulk-len, and Redis then closes the connection: such an entry travels alone and spoils no others.
const (
	maxBatchEntries = 512
	maxBatchBytes   = 1 << 20
)

// queue joins the entries of concurrent callers into pipelines. One pipeline is under way at a time; what is added
// meanwhile is the next one. It has a goroutine only while there is work.
type queue struct {
	client redis.UniversalClient

	mu      sync.Mutex
	waiting []*entry
	idle    chan struct{} // closed when the goroutine ends; nil when there is none
}

type entry struct {
	ctx  context.Context
	args *redis.XAddArgs
	size int
	done chan error // has room for the result, so that nobody waits for a caller that left
}

// add waits until Redis has answered or ctx ends. ctx must have a deadline.
func (q *queue) add(ctx context.Context, args *redis.XAddArgs, size int) error {
	e := &entry{ctx: ctx, args: args, size: size, done: make(chan error, 1)}
	q.mu.Lock()
	q.waiting = append(q.waiting, e)
	if q.idle == nil {
		q.idle = make(chan struct{})
		go q.run()
	}
	q.mu.Unlock()

	select {
	case err := <-e.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (q *queue) run() {
	for {
		batch := q.take()
		if batch == nil {
			return
		}
		q.send(batch)
	}
}

// take returns the next pipeline, without the entries that nobody waits for any more, or nil when there is no work.
func (q *queue) take() []*entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	var batch []*entry
	size, n := 0, 0
	for _, e := range q.waiting {
		if e.ctx.Err() == nil {
			if len(batch) > 0 && (len(batch) == maxBatchEntries || size+e.size > maxBatchBytes) {
				break
			}
			batch = append(batch, e)
			size += e.size
		}
		n++
	}
	clear(q.waiting[:n])
	q.waiting = q.waiting[n:]
	if len(q.waiting) == 0 {
		q.waiting = nil
	}
	if batch == nil {
		close(q.idle)
		q.idle = nil
	}
	return batch
}

// wait returns when no pipeline is under way, or ctx ends.
func (q *queue) wait(ctx context.Context) {
	q.mu.Lock()
	idle := q.idle
	q.mu.Unlock()
	if idle == nil {
		return
	}
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

func (q *queue) send(batch []*entry) {
	// One caller that gives up must not take the others with it: the pipeline lasts as long as its most patient one.
	var last time.Time
	for _, e := range batch {
		if deadline, _ := e.ctx.Deadline(); deadline.After(last) {
			last = deadline
		}
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(batch[0].ctx), last)
	defer cancel()

	pipe := q.client.Pipeline()
	cmds := make([]*redis.StringCmd, len(batch))
	for i, e := range batch {
		cmds[i] = pipe.XAdd(ctx, e.args)
	}
	_, err := pipe.Exec(ctx)
	for i, e := range batch {
		id, cmdErr := cmds[i].Result()
		if cmdErr == nil && id == "" && err != nil {
			cmdErr = err // Exec failed before it reached this command
		}
		e.done <- cmdErr
	}
}

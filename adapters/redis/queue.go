package redis

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/bento-outbox/watermill-outbox/adapters"
)

// Limits of one pipeline. An argument that Redis may refuse by its size is above 1 MiB, the least value of
// proto-max-bulk-len, and Redis then closes the connection: such an entry travels alone and spoils no others.
const (
	maxBatchEntries = 512
	maxBatchBytes   = 1 << 20
)

// queue joins the entries of concurrent callers into pipelines. One pipeline is under way at a time; what is added
// meanwhile is the next one. It has a goroutine only while there is work.
//
// A deadline must not hide a failure that is known: an entry whose deadline passes while the queue cannot reach the
// server reports why it cannot, not silence, for which the message might be to blame.
type queue struct {
	client  redis.UniversalClient
	retries retries

	mu       sync.Mutex
	waiting  []*entry
	idle     chan struct{} // closed when the goroutine ends; nil when there is none
	failure  error         // of the last pipeline; nil if it was answered or the failure blames nobody
	failures int           // how many there have been
}

// retries says how often a pipeline without an answer is sent again, and the bounds of the back-off.
type retries struct {
	max         int
	least, most time.Duration
}

type entry struct {
	ctx      context.Context
	args     *redis.XAddArgs
	size     int
	failures int        // of the queue, when the entry was added
	sent     bool       // at least once
	done     chan error // has room for the result, so that nobody waits for a caller that left
}

// add waits until Redis has answered or ctx ends. ctx must have a deadline. When that passes, the error is the last
// failure to reach the server since add was called, or the one that the queue waits after.
func (q *queue) add(ctx context.Context, args *redis.XAddArgs, size int) error {
	e := &entry{ctx: ctx, args: args, size: size, done: make(chan error, 1)}
	q.mu.Lock()
	e.failures = q.failures
	q.waiting = append(q.waiting, e)
	if q.idle == nil {
		q.idle = make(chan struct{})
		go q.run()
	}
	q.mu.Unlock()

	var err error
	select {
	case err = <-e.done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if adapters.Blame(err) != adapters.BlameSilence {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failure != nil && (q.failures > e.failures || !e.sent) {
		return q.failure
	}
	return err
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
			e.sent = true
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

	for attempt := 0; ; attempt++ {
		var err error
		batch, err = q.try(ctx, batch)
		if len(batch) == 0 || attempt >= q.retries.max || !q.retries.wait(ctx, attempt) {
			for _, e := range batch {
				e.done <- err
			}
			return
		}
	}
}

// try sends batch once. It returns the entries that got no answer, and why, if trying again may help.
func (q *queue) try(ctx context.Context, batch []*entry) (left []*entry, failure error) {
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
		if cmdErr != nil && unanswered(cmdErr) {
			failure = cmdErr
			if e.ctx.Err() == nil {
				left = append(left, e)
				continue
			}
		}
		e.done <- cmdErr
	}
	q.learn(failure)
	return left, failure
}

// learn keeps failure for the entries that wait, or forgets the last one when there is none.
func (q *queue) learn(failure error) {
	if failure != nil && adapters.Blame(blame(failure)) == adapters.BlameSilence {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failure = failure; failure != nil {
		q.failures++
	}
}

// unanswered reports whether err says that the server could not be reached or was silent.
func unanswered(err error) bool {
	var answer redis.Error
	return !errors.As(err, &answer) && adapters.Blame(blame(err)) != adapters.BlameUnknown
}

// wait backs off before an attempt is repeated. It reports whether ctx lasts that long.
func (r retries) wait(ctx context.Context, attempt int) bool {
	limit := min(r.least<<min(attempt, 20), r.most)
	timer := time.NewTimer(limit/2 + rand.N(limit/2+1))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

package engine

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"golang.org/x/sync/semaphore"
)

// The longest payload that comes with a batch. A longer one is fetched when its turn has come, so that a batch of huge events does not fill the
// memory.
const (
	inlinePayload = 64 << 10
	bigPayloads   = 64 << 20 // bytes of longer payloads in memory at once
)

func newPayloads() *semaphore.Weighted { return semaphore.NewWeighted(bigPayloads) }

// load fetches a payload that did not come with its batch, when there is memory for it. It reports whether the unit has its payload.
func (e *Engine) load(u *Unit) bool {
	if u.Event.PayloadSize <= inlinePayload {
		return true
	}
	weight := int64(min(u.Event.PayloadSize, bigPayloads))
	if err := e.payloads.Acquire(e.ctx, weight); err != nil {
		return false
	}
	u.loaded = weight
	ctx, cancel := context.WithTimeout(e.ctx, e.cfg.QueryTimeout)
	defer cancel()
	payload, err := e.store.Payload(ctx, u.Event.Seq)
	if err != nil && e.ctx.Err() == nil {
		e.logger.Error("Cannot read the payload of an event; trying again", err, watermill.LogFields{"outbox_seq": u.Event.Seq})
		e.pause(time.Second) // it is read again at once
	}
	u.Event.Payload = payload
	return err == nil
}

// unload forgets a payload that was fetched.
func (e *Engine) unload(u *Unit) {
	if u.loaded > 0 {
		e.payloads.Release(u.loaded)
		u.Event.Payload, u.loaded = nil, 0
	}
}

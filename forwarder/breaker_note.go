package forwarder

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// breakerChanged notes for people what is out of reach or back, and goes on with what was held. Calls for one breaker may overtake each other: what
// it is now is noted, if that is new.
func (f *Forwarder) breakerChanged(b *breaker) {
	if !b.tripped() || b.forgotten.Load() {
		f.opens(f.gates.scopeOf(b.scope))
	}
	f.noting.Lock()
	defer f.noting.Unlock()
	open := b.tripped() && !b.forgotten.Load()
	if open == b.noted {
		return
	}
	b.noted = open
	f.cfg.Hooks.Breaker(b.scope, open)
	ctx, cancel := context.WithTimeout(context.Background(), f.cfg.QueryTimeout)
	defer cancel()
	fields := watermill.LogFields{"destination": shortName(b.scope)}
	var err error
	switch {
	case open:
		cause := b.lastFailure()
		f.logger.Error("A destination takes nothing for now; its deliveries are held", cause, fields)
		err = f.store.Load().Pause(ctx, store.Unreachable, b.scope, errorText(cause))
	case b.tripped():
		f.logger.Info("Nothing is left to try a destination with; it is not watched any more", fields)
		err = f.store.Load().Resume(ctx, store.Unreachable, b.scope)
	default:
		f.logger.Info("A destination is back; its deliveries go on", fields)
		err = f.store.Load().Resume(ctx, store.Unreachable, b.scope)
	}
	if err != nil {
		f.logger.Info("Cannot note the state of a destination for people to see", watermill.LogFields{"destination": shortName(b.scope), "err": err})
	}
}

// shortName is a name for a log. A long one is cut.
func shortName(name string) string {
	const limit = 200
	if len(name) <= limit {
		return storable(name, limit)
	}
	return fmt.Sprintf("%s... (%d bytes)", storable(name, limit), len(name))
}

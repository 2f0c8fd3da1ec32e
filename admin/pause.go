package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// Kind is what a pause is about.
type Kind string

// The kinds of pauses.
const (
	Destination Kind = "destination" // a name as kafka://orders, or kafka:// for everything that a publisher gets
	Tenant      Kind = "tenant"
	Key         Kind = "key" // an ordering key, as order:17, of any tenant
)

// Pause says that deliveries are held, without using attempts, until it is resumed.
type Pause struct {
	Kind   Kind      `json:"kind"`
	Name   string    `json:"name"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

// Pauses returns all pauses, ordered by kind and name.
func (c *Client) Pauses(ctx context.Context) ([]Pause, error) {
	list, err := c.store.Controls(ctx)
	var pauses []Pause
	for _, p := range list {
		if p.Kind != store.Unreachable { // which forwarders note
			pauses = append(pauses, Pause{Kind(p.Kind), p.Name, p.Reason, p.Since})
		}
	}
	return pauses, err
}

// Pause holds the deliveries to a destination, of a tenant or of a key, until [Client.Resume]. What is in flight ends. The reason is for people;
// pausing again replaces it.
func (c *Client) Pause(ctx context.Context, kind Kind, name, reason string) error {
	if err := check(kind, name); err != nil {
		return err
	}
	return c.store.Pause(ctx, store.ControlKind(kind), name, reason)
}

// Resume ends a pause: what was held goes on in its order. Resuming what is not paused does nothing.
func (c *Client) Resume(ctx context.Context, kind Kind, name string) error {
	if err := check(kind, name); err != nil {
		return err
	}
	return c.store.Resume(ctx, store.ControlKind(kind), name)
}

func check(kind Kind, name string) error {
	switch {
	case kind != Destination && kind != Tenant && kind != Key:
		return fmt.Errorf("cannot pause a %q: want %s, %s or %s", kind, Destination, Tenant, Key)
	case name == "" && kind != Tenant: // events without a tenant have the empty one
		return fmt.Errorf("cannot pause a %s without a name", kind)
	}
	return nil
}

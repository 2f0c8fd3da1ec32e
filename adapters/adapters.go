// Package adapters opens a publisher by URL.
//
// The scheme of the URL names the broker. An adapter package registers its scheme when it is imported, as drivers of
// database/sql do:
//
//	import _ "github.com/bento-outbox/watermill-outbox/adapters/redis"
//
//	pub, err := adapters.Open(ctx, "redis://localhost:6379?maxlen=100000", logger)
//
// What is open is an ordinary [message.Publisher]. Each adapter package also has a NewPublisher for callers that hold a
// client already. [Register] adds a scheme of your own, and package adapterstest checks that its publisher keeps what
// the forwarder relies on.
//
// # Whose fault an error is
//
// The forwarder treats a failed Publish by whose fault it is, and only the adapter knows what its broker's errors mean. It
// marks what is the message's with [Permanent], what is the server's state with [Unavailable], what is the state of one
// topic with [UnavailableTopic], and leaves alone what it does not know, connection errors and time-outs. [Blame] tells
// what the forwarder makes of an error. The page docs/adapters.md has the table of each adapter; a new one needs its own.
package adapters

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/nearest"
)

// ErrUnknownScheme is returned by [Open] for a URL whose scheme nobody registered.
var ErrUnknownScheme = errors.New("unknown publisher scheme")

// ErrClosed is returned by Publish after Close, by the publishers of this module's adapters. It is [Unavailable]: an
// application that closes its publishers before the forwarder loses no event by it.
var ErrClosed = Unavailable(errors.New("publisher is closed"))

// Opener makes a publisher from u. It reports every fault of u at once, and no secret of it. A host list, as in
// kafka://a:9092,b:9092, arrives whole in u.Host. The logger is never nil. An Opener is called concurrently.
//
// ctx bounds the opening, not the life of the publisher.
type Opener func(ctx context.Context, u *url.URL, logger watermill.LoggerAdapter) (message.Publisher, error)

var registry = struct {
	sync.RWMutex
	openers map[string]Opener
}{openers: make(map[string]Opener)}

// Register makes open the opener of scheme, which is compared without regard to case. It panics when scheme is empty
// or taken, or open is nil. Call it from an init function.
func Register(scheme string, open Opener) {
	scheme = strings.ToLower(scheme)
	if scheme == "" {
		panic("adapters: Register with an empty scheme")
	}
	if open == nil {
		panic("adapters: Register of " + scheme + " with a nil Opener")
	}
	registry.Lock()
	defer registry.Unlock()
	if _, taken := registry.openers[scheme]; taken {
		panic("adapters: Register called twice for " + scheme)
	}
	registry.openers[scheme] = open
}

// Schemes returns the registered schemes, sorted.
func Schemes() []string {
	registry.RLock()
	defer registry.RUnlock()
	names := make([]string, 0, len(registry.openers))
	for name := range registry.openers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Open returns the publisher that rawURL describes. The caller closes it.
//
// A fault in rawURL is reported at once, all of them together, and neither its user name nor its password is part of
// the error. The adapters of this module need no living broker here: they connect when the first message is published,
// and again after a failure. The error wraps [ErrUnknownScheme] when no adapter for the scheme is imported.
// A nil logger logs nothing. Open is safe for concurrent use.
func Open(ctx context.Context, rawURL string, logger watermill.LoggerAdapter) (message.Publisher, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if logger == nil {
		logger = watermill.NopLogger{}
	}
	u, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	registry.RLock()
	open := registry.openers[u.Scheme]
	registry.RUnlock()
	if open == nil {
		return nil, unknownScheme(u.Scheme)
	}
	pub, err := open(ctx, u, logger)
	if err != nil {
		return nil, fmt.Errorf("open %s://%s: %w", u.Scheme, u.Host, err)
	}
	return pub, nil
}

// packages tells which import registers a scheme.
var packages = map[string]string{
	"console": "console", "http": "http", "https": "http", "kafka": "kafka", "redis": "redis", "rediss": "redis",
}

func unknownScheme(scheme string) error {
	registered := Schemes()
	known := "none is registered"
	if len(registered) > 0 {
		known = "registered: " + strings.Join(registered, ", ")
	}
	if pkg, ok := packages[scheme]; ok {
		return fmt.Errorf("%w %q (%s): import _ %q", ErrUnknownScheme, scheme, known,
			"github.com/bento-outbox/watermill-outbox/adapters/"+pkg)
	}
	all := registered
	for name := range packages {
		all = append(all, name)
	}
	if near := nearest.Name(scheme, slices.Sorted(slices.Values(all))); near != "" {
		return fmt.Errorf("%w %q (%s): did you mean %s?", ErrUnknownScheme, scheme, known, near)
	}
	return fmt.Errorf("%w %q (%s): import its adapter or Register one", ErrUnknownScheme, scheme, known)
}

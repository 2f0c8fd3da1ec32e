package forwarder

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/store"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

// ErrUnknownDestination is wrapped by the error of a delivery whose destination names no publisher of the forwarder.
var ErrUnknownDestination = errors.New("unknown destination")

// publishers are the destinations of a forwarder by name.
type publishers struct {
	byName   map[string]*publisher
	standard string
}

func newPublishers(byName map[string]message.Publisher, standard string) (publishers, error) {
	if len(byName) == 0 {
		return publishers{}, errors.New("no publisher given")
	}
	for name, p := range byName {
		if p == nil {
			return publishers{}, fmt.Errorf("publisher %q is nil", name)
		}
		if name == "" || strings.Contains(name, "://") {
			return publishers{}, fmt.Errorf("publisher name %q: must not be empty nor contain ://", name)
		}
	}
	if standard == "" {
		standard = "default"
		if len(byName) == 1 {
			for name := range byName {
				standard = name
			}
		}
	} else if byName[standard] == nil {
		return publishers{}, fmt.Errorf("default publisher %q is none of %v", standard, names(byName))
	}
	pubs := publishers{byName: map[string]*publisher{}, standard: standard}
	for name, p := range byName {
		pubs.byName[name] = &publisher{Publisher: p}
	}
	return pubs, nil
}

// find cuts a destination at the first :// into the name of a publisher and a topic. A bare topic is the default publisher's. The error is
// permanent.
func (p publishers) find(destination string) (*publisher, string, error) {
	if len(destination) > store.MaxTarget {
		return nil, "", middleware.Permanent(fmt.Errorf("%w %.100q...: it has %d bytes, more than %d", ErrUnknownDestination, destination,
			len(destination), store.MaxTarget))
	}
	name, topic, named := strings.Cut(destination, "://")
	if !named {
		name, topic = p.standard, destination
	}
	pub := p.byName[name]
	switch {
	case pub == nil && !named:
		return nil, "", middleware.Permanent(fmt.Errorf("%w %.200q: it names no publisher and there is no default one; publishers are %v",
			ErrUnknownDestination, destination, names(p.byName)))
	case pub == nil:
		return nil, "", middleware.Permanent(fmt.Errorf("%w %.200q: no publisher %q; publishers are %v", ErrUnknownDestination, destination, name,
			names(p.byName)))
	case topic == "":
		return nil, "", middleware.Permanent(fmt.Errorf("%w %.200q: it has no topic", ErrUnknownDestination, destination))
	}
	return pub, topic, nil
}

// Check reports why nothing can be delivered to destination. The error is permanent.
func (p *publishers) Check(destination string) error {
	_, _, err := p.find(destination)
	return err
}

func names[P any](m map[string]P) []string { return slices.Sorted(maps.Keys(m)) }

package forwarder

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/fault"
)

// Bounds of the breakers of topics.
const (
	maxTopicBreakers = 100 // of a publisher; deliveries to further topics that fail are tried again one by one
	probesAtOnce     = 8   // topics of a publisher
	// topicIdle is how long after its last failure a topic's breaker is forgotten: nothing is left to probe it with.
	topicIdle = 10 * time.Minute
)

// publisherGate holds the breakers of a publisher and of its topics.
type publisherGate struct {
	gates    *gates
	scope    string // its name and ://
	failures uint32
	changed  func(*breaker)
	whole    *breaker // nil when its topics fail alone

	mu      sync.Mutex
	topics  map[string]*breaker // those that failed last, by destination
	failing atomic.Int32        // of topics
	moves   atomic.Int64        // counts how often a breaker closed and ceased to be closed
}

// topic returns the breaker of a destination, nil when it has none.
func (p *publisherGate) topic(destination string) *breaker {
	if p.failing.Load() == 0 {
		return nil
	}
	destination = targetName(destination)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.topics[destination]
}

// failed returns the breaker of a destination that has failed, nil when there are too many.
func (p *publisherGate) failed(destination string) *breaker {
	destination = targetName(destination)
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.topics[destination]
	if b == nil && len(p.topics) < maxTopicBreakers {
		b = p.newBreaker(destination)
		p.topics[destination] = b
		p.failing.Store(int32(len(p.topics)))
	}
	return b
}

// drop forgets a topic's breaker.
func (p *publisherGate) drop(b *breaker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.topics[b.scope] == b {
		delete(p.topics, b.scope)
		p.failing.Store(int32(len(p.topics)))
		b.forgotten.Store(true)
	}
}

// blocked reports whether nothing may go to a destination, not even a probe.
func (p *publisherGate) blocked(destination string) bool {
	if p.whole != nil && p.whole.blocked() {
		return true
	}
	b := p.topic(destination)
	return b != nil && b.blocked()
}

// tripped reports whether nothing but a probe may go to a destination.
func (p *publisherGate) tripped(destination string) bool {
	if p.whole != nil && p.whole.tripped() {
		return true
	}
	b := p.topic(destination)
	return b != nil && b.tripped()
}

// pass is the permission to publish once.
type pass struct {
	gate        *publisherGate
	destination string
	topic       *breaker
	whole, part ticket // of the breakers of the publisher and the topic
}

// errNotSent is reported to a breaker that learns nothing.
var errNotSent = errors.New("not sent")

// enter returns a pass when a message may be published to a destination now. Done of the pass must be called.
func (p *publisherGate) enter(destination string) (pass, bool) {
	x := pass{gate: p, destination: destination, topic: p.topic(destination)}
	if x.topic != nil && x.topic.blocked() {
		return x, false
	}
	if p.whole != nil {
		var ok bool
		if x.whole, ok = p.whole.enter(); !ok {
			return x, false
		}
	}
	if x.topic != nil {
		var ok bool
		if x.part, ok = x.topic.enter(); !ok {
			x.whole.done(errNotSent)
			return x, false
		}
	}
	return x, true
}

// done takes what came of the publish, and returns whose fault a failure is. That of one that got no answer is the destination's when its
// breaker is not closed.
func (x *pass) done(err error) fault.Fault {
	if err == nil {
		x.through()
		x.gate.gates.reached(x.destination)
		return fault.Fault{}
	}
	f := fault.Of(err)
	switch {
	case f.Kind == fault.Unknown && errors.Is(err, context.Canceled):
		x.unused()
		return f
	case f.Kind != fault.Destination && f.Kind != fault.Silent:
		x.through() // it has answered
		return f
	}
	tripped := false
	if whole := x.gate.whole; whole != nil {
		if f.TopicOnly {
			x.whole.done(nil)
		} else {
			whole.blame(err)
			x.whole.done(err)
			tripped = whole.tripped()
		}
	}
	if tripped { // then the topic has nothing to do with it
		x.part.done(errNotSent)
	} else {
		tripped = x.fail(err)
	}
	if f.Kind == fault.Silent && tripped {
		f.Kind = fault.Destination
	}
	return f
}

// unused gives the pass back: nothing is learnt.
func (x *pass) unused() {
	x.whole.done(errNotSent)
	x.part.done(errNotSent)
}

// through reports that the destination has taken a message or said what is wrong with it.
func (x *pass) through() {
	x.whole.done(nil)
	if x.part.done(nil); x.topic != nil && !x.topic.tripped() {
		x.gate.drop(x.topic)
	}
}

// fail reports a failure to the topic's breaker and reports whether that is tripped.
func (x *pass) fail(err error) bool {
	b := x.gate.failed(x.destination)
	if b == nil {
		return false
	}
	b.blame(err)
	if b != x.topic { // new, or another one meanwhile
		x.part, _ = b.enter()
	}
	x.part.done(err)
	return b.tripped()
}

// probes returns what is to be probed now: the publisher, or some of its topics, and forgets the topics of which nothing came for long.
func (p *publisherGate) probes(now time.Time) (names []string) {
	if p.whole != nil && p.whole.tripped() {
		if !p.whole.resting() {
			names = append(names, p.scope)
		}
		return names
	}
	if p.failing.Load() == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []*breaker
	for name, b := range p.topics {
		switch {
		case now.Sub(b.heard()) > topicIdle+2*p.gates.probe:
			delete(p.topics, name)
			p.failing.Store(int32(len(p.topics)))
			b.forgotten.Store(true)
			if b.tripped() {
				p.moves.Add(1)
				go p.changed(b)
			}
		case b.tripped() && !b.resting():
			list = append(list, b)
		}
	}
	slices.SortFunc(list, func(a, b *breaker) int { return cmp.Compare(a.probed, b.probed) })
	for _, b := range list[:min(len(list), probesAtOnce)] {
		b.probed = now.UnixNano()
		names = append(names, b.scope)
	}
	return names
}

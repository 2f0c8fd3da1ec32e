package adapters

import (
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/bento-outbox/watermill-outbox/internal/fault"
)

// Permanent marks err as one that publishing the same message again cannot cure: the message is too large, or has what
// the broker will never take. The delivery is dead at once. Permanent(nil) is nil.
//
// The mark is a method, Permanent() bool: an error type that has it needs no wrapping, and nobody has to import this
// package to see it.
func Permanent(err error) error { return fault.Permanent(err) }

// IsPermanent reports whether err says by a method Permanent() bool that the message is at fault. Of the errors that err wraps the outermost counts
// that says so or is unavailable.
func IsPermanent(err error) bool { return fault.IsPermanent(err) }

// Unavailable marks err as the state of the server, not the fault of the message: it is read-only, out of memory,
// overloaded, or does not accept our credentials. The delivery is held without an attempt, and after some such failures
// in a row nothing is sent to the publisher but probes. Unavailable(nil) is nil.
//
// An error says the same by a method Unavailable() bool. Errors that say that the connection was refused or broken need
// no mark, nor do time-outs: the forwarder knows those of package net, package crypto/tls and package context.
func Unavailable(err error) error { return fault.Unavailable(err, false, false) }

// UnavailableTopic is [Unavailable] for the state of one topic, which others of the publisher do not share: it has no
// leader, does not exist yet, or we may not write to it. Nothing is sent to this topic but probes.
//
// An error says the same by methods Unavailable() bool and TopicOnly() bool.
func UnavailableTopic(err error) error { return fault.Unavailable(err, true, false) }

// Suspect marks err, which one of [Unavailable] and [UnavailableTopic] has marked, as one that the message may cause. When
// the same message meets it again and again while others get through, attempts are counted after all, so that it is dead
// one day. An error says the same by a method Suspect() bool. Other errors are returned as they are.
func Suspect(err error) error {
	f := fault.Of(err)
	if f.Kind != fault.Destination {
		return err
	}
	return fault.Unavailable(err, f.TopicOnly, true)
}

// Verdict is whom an error blames.
type Verdict int

// What [Blame] returns.
const (
	// BlameUnknown is nobody's: the delivery is retried by its policy.
	BlameUnknown Verdict = iota
	// BlameMessage is of [Permanent] errors: the delivery is dead.
	BlameMessage
	// BlamePublisher is of [Unavailable] ones: the deliveries of the publisher are held.
	BlamePublisher
	// BlameTopic is of [UnavailableTopic] ones: the deliveries to the topic are held.
	BlameTopic
	// BlameSilence is of time-outs: held when others time out too, else retried by policy.
	BlameSilence
)

func (v Verdict) String() string {
	return [...]string{"unknown", "message", "publisher", "topic", "silence"}[v]
}

// Blame returns what the forwarder takes err for, for the tests of an adapter. That of nil is unknown.
func Blame(err error) Verdict {
	switch f := fault.Of(err); {
	case f.Kind == fault.Message:
		return BlameMessage
	case f.Kind == fault.Silent:
		return BlameSilence
	case f.Kind == fault.Destination && f.TopicOnly:
		return BlameTopic
	case f.Kind == fault.Destination:
		return BlamePublisher
	}
	return BlameUnknown
}

// PerTopic returns pub as a publisher whose topics fail one by one, as those of watermill-http do, whose topics are URLs: the
// forwarder has a circuit breaker for each topic that fails, and none for the publisher as a whole.
//
// A publisher says the same by a method TopicsFailAlone() bool.
func PerTopic(pub message.Publisher) message.Publisher { return perTopic{pub} }

type perTopic struct{ message.Publisher }

func (perTopic) TopicsFailAlone() bool { return true }

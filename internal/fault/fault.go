// Package fault decides from an error whose fault a failed publish is: the message's, the destination's, or nobody knows. The forwarder acts on it,
// and packages adapters and middleware have the functions that mark errors.
//
// An error says it by methods, so that nobody has to import this module to be understood:
//
//	Permanent() bool    // the message's: the same message will never be accepted
//	Unavailable() bool  // the destination's: it takes nothing for now
//	TopicOnly() bool    // of an unavailable one: other topics of the publisher are well
//	Suspect() bool      // of an unavailable one: the message may be what causes it
//	Timeout() bool      // no answer came
//
// Of several that speak in one chain the outermost counts. When none does, [Of] looks for the errors of package net and the like.
package fault

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
)

// Kind is whose fault it is.
type Kind int

// The kinds.
const (
	Unknown     Kind = iota // retried by policy
	Message                 // dead at once
	Destination             // held without an attempt
	Silent                  // no answer: held when others get none either, else retried by policy
)

// Fault is what an error says.
type Fault struct {
	Kind Kind
	// TopicOnly tells, of Destination, that it is the state of one topic.
	TopicOnly bool
	// Suspect tells, of Destination, that the message may be what causes it.
	Suspect bool
}

// Of returns what err says. That of nil is unknown.
func Of(err error) Fault {
	if err == nil {
		return Fault{}
	}
	if f := said(err); f.Kind != Unknown {
		return f
	}
	return guess(err)
}

// IsPermanent reports whether err says that it is the message's fault.
func IsPermanent(err error) bool { return said(err).Kind == Message }

// said returns what the outermost error says that says anything by the methods of this package.
func said(err error) (f Fault) {
	walk(err, func(err error) bool {
		if p, ok := err.(interface{ Permanent() bool }); ok && p.Permanent() {
			f.Kind = Message
		} else if u, ok := err.(interface{ Unavailable() bool }); ok && u.Unavailable() {
			f.Kind = Destination
			topic, ok := err.(interface{ TopicOnly() bool })
			f.TopicOnly = ok && topic.TopicOnly()
			suspect, ok := err.(interface{ Suspect() bool })
			f.Suspect = ok && suspect.Suspect()
		}
		return f.Kind != Unknown
	})
	return f
}

// guess looks for errors that everybody's clients return.
func guess(err error) Fault {
	var operation *net.OpError
	isOperation := errors.As(err, &operation)
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError // one that has expired, for instance
	var record tls.RecordHeaderError                  // the server does not speak TLS
	var alert tls.AlertError                          // the server refuses our certificate, or has none for the name
	switch {
	case isOperation && operation.Op != "read" && operation.Op != "write", errors.As(err, &name), errors.As(err, &certificate),
		errors.As(err, &record), errors.As(err, &alert), errors.Is(err, syscall.ECONNREFUSED):
		return Fault{Kind: Destination} // nothing of the message was sent, however long that took
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return Fault{Kind: Silent}
	}
	if isOperation || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return Fault{Kind: Destination, Suspect: true} // some servers hang up on what they do not like
	}
	return Fault{}
}

// walk calls f for err and what it wraps, from the outside inwards, until f returns true.
func walk(err error, f func(error) bool) bool {
	if err == nil {
		return false
	}
	if f(err) {
		return true
	}
	switch e := err.(type) { //nolint:errorlint // walks the chain itself
	case interface{ Unwrap() error }:
		return walk(e.Unwrap(), f)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if walk(inner, f) {
				return true
			}
		}
	}
	return false
}

// permanent, unavailable mark errors.
type permanent struct{ error }

func (e permanent) Unwrap() error { return e.error }
func (permanent) Permanent() bool { return true }

type unavailable struct {
	error
	topic, suspect bool
}

func (e unavailable) Unwrap() error   { return e.error }
func (unavailable) Unavailable() bool { return true }
func (e unavailable) TopicOnly() bool { return e.topic }
func (e unavailable) Suspect() bool   { return e.suspect }

// Permanent marks err as the message's fault. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

// Unavailable marks err as the destination's, of all of a publisher's or of one topic. Unavailable(nil) is nil.
func Unavailable(err error, topicOnly, suspect bool) error {
	if err == nil {
		return nil
	}
	return unavailable{err, topicOnly, suspect}
}

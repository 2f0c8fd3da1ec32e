package middleware

import (
	"errors"
	"strings"

	"github.com/bento-outbox/watermill-outbox/internal/fault"
	"github.com/bento-outbox/watermill-outbox/internal/rules"
)

// Permanent marks err as one that trying again cannot cure: the delivery is dead at once. Permanent(nil) is nil.
func Permanent(err error) error { return fault.Permanent(err) }

// IsPermanent tells whether err, or any error it wraps, was marked by [Permanent] or has a method Permanent() bool that
// returns true.
func IsPermanent(err error) bool { return fault.IsPermanent(err) }

// ErrInvalid is wrapped by every error about a condition, a transform or a sample that does not compile.
var ErrInvalid = errors.New("invalid config")

// Fault is one thing that is wrong in a config.
type Fault struct {
	Pointer string `json:"pointer"` // where: a JSON pointer (RFC 6901) into the config; empty for the whole of it
	Message string `json:"message"` // what
}

func (f Fault) String() string {
	if f.Pointer == "" {
		return f.Message
	}
	return f.Pointer + ": " + f.Message
}

// InvalidError lists all the faults of one config, in the order of its text. It wraps [ErrInvalid].
type InvalidError struct {
	Faults []Fault
}

func (e *InvalidError) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.String()
	}
	return ErrInvalid.Error() + ": " + strings.Join(lines, "; ")
}

// Permanent is true: trying again does not cure a config.
func (e *InvalidError) Permanent() bool { return true }

// Unwrap returns [ErrInvalid].
func (e *InvalidError) Unwrap() error { return ErrInvalid }

// invalid returns the error that says what was collected, or nil.
func invalid(found rules.Faults) error {
	if len(found.List) == 0 {
		return nil
	}
	e := &InvalidError{}
	for _, f := range found.List {
		e.Faults = append(e.Faults, Fault(f))
	}
	return e
}

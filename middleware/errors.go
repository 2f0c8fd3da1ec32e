package middleware

import (
	"errors"
	"strings"

	"github.com/bento-outbox/watermill-outbox/internal/fault"
	"github.com/bento-outbox/watermill-outbox/internal/rules"
)

// Permanent marks err as an error that a retry cannot cure: the delivery is dead at once. Permanent(nil) is nil.
func Permanent(err error) error { return fault.Permanent(err) }

// IsPermanent reports whether err was marked by [Permanent], or has a method Permanent() bool that returns true. Of the errors that err wraps the
// outermost counts that says either this or, by a method Unavailable, that the destination is at fault.
func IsPermanent(err error) bool { return fault.IsPermanent(err) }

// ErrInvalid is wrapped by the error of every constructor whose config is invalid.
var ErrInvalid = errors.New("invalid config")

// Fault is one mistake in a config.
type Fault struct {
	Pointer string `json:"pointer"` // JSON pointer (RFC 6901) of the place; empty for the whole config
	Message string `json:"message"`
}

func (f Fault) String() string {
	if f.Pointer == "" {
		return f.Message
	}
	return f.Pointer + ": " + f.Message
}

// InvalidError lists all faults of one config, in the order of its text. It wraps [ErrInvalid].
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

// Permanent returns true: a retry does not cure a config.
func (e *InvalidError) Permanent() bool { return true }

// Unwrap returns [ErrInvalid].
func (e *InvalidError) Unwrap() error { return ErrInvalid }

// invalid returns an InvalidError with the faults found, or nil when there are none.
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

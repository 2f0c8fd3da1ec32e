package middleware

import (
	"errors"
	"fmt"
	"strings"
)

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

// maxFaults is how many faults of one config are listed.
const maxFaults = 100

// faults collects what is wrong.
type faults struct{ list []Fault }

func (f *faults) add(pointer, format string, args ...any) {
	if len(f.list) < maxFaults {
		f.list = append(f.list, Fault{pointer, fmt.Sprintf(format, args...)})
	}
}

func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	return &InvalidError{Faults: f.list}
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// Pointer appends one reference token to a JSON pointer.
func Pointer(parent, token string) string {
	return parent + "/" + pointerEscapes.Replace(token)
}

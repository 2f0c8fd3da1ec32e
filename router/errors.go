package router

import (
	"github.com/bento-outbox/watermill-outbox/internal/rules"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

// ErrInvalidConfig is wrapped by every error about a routing config or a routes file.
var ErrInvalidConfig = middleware.ErrInvalid

// InvalidConfigError lists all the faults of one config or routes file.
type InvalidConfigError = middleware.InvalidError

// Fault is one thing that is wrong, with its place as a JSON pointer.
type Fault = middleware.Fault

// invalid returns the error that says what was collected, or nil.
func invalid(found rules.Faults) error {
	if len(found.List) == 0 {
		return nil
	}
	e := &InvalidConfigError{}
	for _, f := range found.List {
		e.Faults = append(e.Faults, Fault(f))
	}
	return e
}

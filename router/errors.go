package router

import (
	"github.com/bento-outbox/watermill-outbox/internal/rules"
	"github.com/bento-outbox/watermill-outbox/middleware"
)

// ErrInvalidConfig is wrapped by every error about a routing config or a routes file.
var ErrInvalidConfig = middleware.ErrInvalid

// InvalidConfigError lists all faults of a config or routes file.
type InvalidConfigError = middleware.InvalidError

// Fault is one mistake, with the JSON pointer of its place.
type Fault = middleware.Fault

// invalid returns an InvalidConfigError with the faults found, or nil when there are none.
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

package adapters

import "errors"

type permanentError struct{ err error }

func (e permanentError) Error() string   { return e.err.Error() }
func (e permanentError) Unwrap() error   { return e.err }
func (e permanentError) Permanent() bool { return true }

// Permanent marks err as one that publishing the same message again cannot cure. Permanent(nil) is nil.
//
// The mark is a method, Permanent() bool: an error type that has it needs no wrapping, and nobody has to import this
// package to see it.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanentError{err}
}

// IsPermanent tells whether err, or any error it wraps, has a method Permanent() bool that returns true.
func IsPermanent(err error) bool {
	var p interface{ Permanent() bool }
	return errors.As(err, &p) && p.Permanent()
}

package middleware

type permanentError struct{ err error }

func (e permanentError) Error() string   { return e.err.Error() }
func (e permanentError) Unwrap() error   { return e.err }
func (e permanentError) Permanent() bool { return true }

// Permanent marks err as one that trying again cannot cure: the delivery is dead at once. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanentError{err}
}

// IsPermanent tells whether err, or any error it wraps, was marked by [Permanent] or has a method Permanent() bool that
// returns true.
func IsPermanent(err error) bool {
	switch e := err.(type) { //nolint:errorlint // walks the chain itself
	case nil:
		return false
	case interface{ Permanent() bool }:
		if e.Permanent() {
			return true
		}
	}
	switch e := err.(type) { //nolint:errorlint // walks the chain itself
	case interface{ Unwrap() error }:
		return IsPermanent(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if IsPermanent(inner) {
				return true
			}
		}
	}
	return false
}

package middleware

import "github.com/bento-outbox/watermill-outbox/internal/fault"

// Permanent marks err as one that trying again cannot cure: the delivery is dead at once. Permanent(nil) is nil.
func Permanent(err error) error { return fault.Permanent(err) }

// IsPermanent tells whether err, or any error it wraps, was marked by [Permanent] or has a method Permanent() bool that
// returns true.
func IsPermanent(err error) bool { return fault.IsPermanent(err) }

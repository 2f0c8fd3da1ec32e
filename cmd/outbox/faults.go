package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/bento-outbox/watermill-outbox/schema"
)

// faults are what is wrong with a command line, so that all of it is reported at once. Flags whose text may be wrong are
// strings, read with the methods here.
type faults []error

// usageError is returned by a command that was not begun.
type usageError struct{ faults []error }

// Error joins the faults.
func (e *usageError) Error() string { return errors.Join(e.faults...).Error() }

func (f *faults) add(format string, args ...any) { *f = append(*f, fmt.Errorf(format, args...)) }

// err is a *usageError when there are faults.
func (f *faults) err() error {
	if len(*f) == 0 {
		return nil
	}
	return &usageError{*f}
}

func (f *faults) number(flag, text string, least, most int) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		f.add("%s: %q is no whole number from %d to %d", flag, text, least, most)
		return least
	}
	return n
}

// name returns text, which is to be looked up in the database.
func (f *faults) name(flag, text string) string {
	if text == "" {
		f.add("%s: is empty", flag)
	} else if err := schema.CheckText(text, schema.MaxTarget); err != nil {
		f.add("%s: %w", flag, err)
	}
	return text
}

func (f *faults) duration(flag, text string, least time.Duration) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil || d < least {
		f.add("%s: %q is no duration from %s up, such as 30s or 1m30s", flag, text, least)
		return least
	}
	return d
}

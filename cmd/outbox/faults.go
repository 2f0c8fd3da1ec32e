package main

import (
	"strconv"

	"github.com/bento-outbox/watermill-outbox/cmd/outbox/internal/config"
	"github.com/bento-outbox/watermill-outbox/internal/store"
)

// faults collects what is wrong with a command line, so that all of it is reported at once. Flags whose text may be wrong are strings, read by
// methods of faults.
type faults struct{ config.Faults }

// name returns a name to look up in the database.
func (f *faults) name(flag, text string) string {
	if text == "" {
		f.Add("%s: is empty", flag)
	} else if err := store.CheckText(text, store.MaxTarget); err != nil {
		f.Add("%s: %w", flag, err)
	}
	return text
}

// seq returns the sequence number of an event.
func (f *faults) seq(flag, text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		f.Add("%s: %q is not the number of an event", flag, text)
	}
	return n
}

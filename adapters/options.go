package adapters

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bento-outbox/watermill-outbox/internal/nearest"
)

// Options reads the query of an adapter's URL with types, and collects every fault instead of stopping at the first.
// An option becomes known by being read; what is left over is reported by [Options.Err]. Not safe for concurrent use.
type Options struct {
	query  url.Values
	known  []string
	faults []error
}

// NewOptions returns the options in the query of u.
func NewOptions(u *url.URL) *Options {
	query, err := url.ParseQuery(u.RawQuery)
	o := &Options{query: query}
	if err != nil {
		o.Fail("query cannot be parsed")
	}
	for part := range strings.SplitSeq(u.RawQuery, "&") {
		if name, err := url.QueryUnescape(part); err == nil && part != "" && !strings.Contains(part, "=") {
			delete(o.query, name)
			o.Fail("the query has a part without =: want name=value") // not quoted, for it may be a secret
		}
	}
	return o
}

// Has tells whether the URL sets option name, which becomes known by it.
func (o *Options) Has(name string) bool {
	if !slices.Contains(o.known, name) {
		o.known = append(o.known, name)
	}
	return len(o.query[name]) > 0
}

// String returns option name, or fallback when it is not set.
func (o *Options) String(name, fallback string) string {
	if !o.Has(name) {
		return fallback
	}
	if values := o.query[name]; len(values) > 1 {
		o.Fail("option %s: set %d times", name, len(values))
	}
	return o.query.Get(name)
}

// Choice returns option name, which must be one of choices, or fallback when it is not set.
func (o *Options) Choice(name, fallback string, choices ...string) string {
	value := o.String(name, fallback)
	if value != fallback && !slices.Contains(choices, value) {
		o.Fail("option %s: %q is none of %s", name, value, strings.Join(choices, ", "))
		return fallback
	}
	return value
}

// Int returns option name as a number that is not negative, or fallback when it is not set.
func (o *Options) Int(name string, fallback int) int {
	if !o.Has(name) {
		return fallback
	}
	value := o.String(name, "")
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 {
		o.Fail("option %s: %q is no whole number from 0", name, value)
		return fallback
	}
	return n
}

// Bool returns option name, true or false, or fallback when it is not set.
func (o *Options) Bool(name string, fallback bool) bool {
	if !o.Has(name) {
		return fallback
	}
	value := o.String(name, "")
	b, err := strconv.ParseBool(value)
	if err != nil {
		o.Fail("option %s: %q is neither true nor false", name, value)
		return fallback
	}
	return b
}

// Duration returns option name as a positive duration such as 500ms, or fallback when it is not set.
func (o *Options) Duration(name string, fallback time.Duration) time.Duration {
	if !o.Has(name) {
		return fallback
	}
	value := o.String(name, "")
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 {
		o.Fail("option %s: %q is no duration above 0, such as 500ms or 5s", name, value)
		return fallback
	}
	return d
}

// Prefixed returns the options whose name starts with prefix, without it: for names that the user chooses.
func (o *Options) Prefixed(prefix string) map[string]string {
	found := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(o.query)) {
		if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" {
			found[rest] = o.String(name, "")
		}
	}
	return found
}

// Fail adds a fault that only the adapter can see. Its text must not hold a secret.
func (o *Options) Fail(format string, args ...any) {
	o.faults = append(o.faults, fmt.Errorf(format, args...))
}

// Err returns every fault so far, the options that nobody read among them, or nil.
func (o *Options) Err() error {
	faults := slices.Clone(o.faults)
	for _, name := range slices.Sorted(maps.Keys(o.query)) {
		if slices.Contains(o.known, name) {
			continue
		}
		slices.Sort(o.known)
		switch near := nearest.Name(name, o.known); {
		case near != "":
			faults = append(faults, fmt.Errorf("unknown option %q: did you mean %s?", name, near))
		case len(o.known) == 0:
			faults = append(faults, fmt.Errorf("unknown option %q: there are none", name))
		default:
			faults = append(faults, fmt.Errorf("unknown option %q: known are %s", name, strings.Join(o.known, ", ")))
		}
	}
	return errors.Join(faults...)
}

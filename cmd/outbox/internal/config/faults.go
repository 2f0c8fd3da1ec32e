package config

import (
	"errors"
	"fmt"
	"time"
)

// Fault is one thing that is wrong with what the user gave.
type Fault struct {
	// Setting is the key of the setting at fault, or empty: an unknown variable belongs to none.
	Setting string
	// Place is the flag, the variable, or the line and key of the file. It is empty when Err names it.
	Place string
	// Misspelled reports whether the fault is a variable that nothing reads.
	Misspelled bool
	Err        error
}

// Error returns the place and what is wrong there.
func (f Fault) Error() string {
	if f.Place == "" {
		return f.Err.Error()
	}
	return f.Place + ": " + f.Err.Error()
}

// Unwrap returns what is wrong.
func (f Fault) Unwrap() error { return f.Err }

// Faults collects all faults, so that they are reported at once. As an error it means that nothing was begun.
type Faults []Fault

// Error joins the faults, one per line.
func (f Faults) Error() string { return errors.Join(f.Unwrap()...).Error() }

// Unwrap returns the faults.
func (f Faults) Unwrap() []error {
	list := make([]error, len(f))
	for i := range f {
		list[i] = f[i]
	}
	return list
}

// Err returns f as an error, or nil if it is empty.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// Add adds a fault whose text names its place.
func (f *Faults) Add(format string, args ...any) { f.addf("", "", format, args...) }

// Number reads the whole number that was given at place. It returns least if that is a fault.
func (f *Faults) Number(place, text string, least, most int) int {
	n, err := parseNumber(text, float64(least), float64(most))
	if err != nil {
		f.add("", place, err)
		return least
	}
	return int(n)
}

// Duration reads the duration that was given at place. It returns least if that is a fault.
func (f *Faults) Duration(place, text string, least time.Duration) time.Duration {
	d, err := parseDuration(text, least)
	if err != nil {
		f.add("", place, err)
		return least
	}
	return d
}

// add adds a fault of a setting. Joined errors become one fault each.
func (f *Faults) add(setting, place string, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			f.add(setting, place, one)
		}
		return
	}
	*f = append(*f, Fault{Setting: setting, Place: place, Err: err})
}

func (f *Faults) addf(setting, place, format string, args ...any) {
	*f = append(*f, Fault{Setting: setting, Place: place, Err: fmt.Errorf(format, args...)})
}

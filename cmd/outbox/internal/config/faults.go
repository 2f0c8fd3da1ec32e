package config

import (
	"errors"
	"fmt"
)

// Fault is one thing that is wrong.
type Fault struct {
	// Setting is the key of the setting that it is about; empty for what names none, as an unknown variable.
	Setting string
	// Place is where it was set: a flag, a variable, or a line of the file with the key.
	Place string
	// Misspelled tells that it is a variable which nothing reads.
	Misspelled bool
	Err        error
}

// Error has the place and what is wrong there.
func (f Fault) Error() string { return f.Place + ": " + f.Err.Error() }

// Unwrap returns what is wrong.
func (f Fault) Unwrap() error { return f.Err }

// Faults is the error of [Load] and [Config.Validate]: all that is wrong.
type Faults []Fault

// Error joins the faults, one a line.
func (f Faults) Error() string { return errors.Join(f.list()...).Error() }

// Unwrap returns the faults.
func (f Faults) Unwrap() []error { return f.list() }

func (f Faults) list() []error {
	list := make([]error, len(f))
	for i := range f {
		list[i] = f[i]
	}
	return list
}

func (f Faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// add adds what is wrong with a setting; joined errors are faults of their own.
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
	f.add(setting, place, fmt.Errorf(format, args...))
}

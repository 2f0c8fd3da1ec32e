package rules

import (
	"fmt"
	"strings"

	"github.com/bento-outbox/watermill-outbox/internal/nearest"
)

// Fault is one mistake in a config.
type Fault struct {
	Pointer string // JSON pointer (RFC 6901) of the place; empty for the whole config
	Message string
}

// Faults collects the mistakes in one config, in the order of its text. The zero value is ready to use.
type Faults struct{ List []Fault }

// maxFaults is how many faults of one config are listed.
const maxFaults = 100

// Add adds a fault at pointer.
func (f *Faults) Add(pointer, format string, args ...any) {
	if len(f.List) < maxFaults {
		f.List = append(f.List, Fault{pointer, fmt.Sprintf(format, args...)})
	}
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// Pointer appends one reference token to a JSON pointer.
func Pointer(parent, token string) string {
	return parent + "/" + pointerEscapes.Replace(token)
}

// didYouMean returns the end of a message about an unknown name.
func didYouMean(name string, known []string) string {
	if near := nearest.Name(name, known); near != "" {
		return ", did you mean " + near + "?"
	}
	return "; known are " + strings.Join(known, ", ")
}

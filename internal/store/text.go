package store

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// CheckText returns what is wrong with text that is to be looked up or stored, nil for nothing: a database takes no NUL byte and no invalid UTF-8, and
// nothing that is stored here is longer than most bytes.
func CheckText(text string, most int) error {
	switch {
	case len(text) > most:
		return fmt.Errorf("it has %d bytes; want at most %d", len(text), most)
	case !utf8.ValidString(text):
		return errors.New("it is no valid UTF-8")
	case strings.IndexByte(text, 0) >= 0:
		return errors.New("it has a NUL byte")
	}
	return nil
}

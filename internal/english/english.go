// Package english writes numbers, lists and commands into sentences.
package english

import (
	"fmt"
	"strings"
)

// Count returns n and what it counts: "1 event", "2 events".
func Count[N int | int64](n N, one, many string) string {
	return fmt.Sprintf("%d %s", n, Either(n, one, many))
}

// Either returns one for a single thing, and many for any other number: a noun or a verb.
func Either[N int | int64](n N, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// ShellWord returns text as a shell takes it for one word.
func ShellWord(text string) string {
	if text != "" && strings.IndexFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_-./:@%+=,", r)
	}) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

package adapters

import (
	"slices"
	"strings"
)

// nearest returns the name that is most like word, or "" when none is like it.
func nearest(word string, names []string) string {
	best, least := "", len(word)/3+2
	for _, name := range slices.Sorted(slices.Values(names)) {
		d := distance(strings.ToLower(word), strings.ToLower(name))
		if d < least && d < len(name) {
			best, least = name, d
		}
	}
	return best
}

// distance is the number of bytes to insert, delete or replace that make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			next := diagonal
			if a[i] != b[j] {
				next = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}

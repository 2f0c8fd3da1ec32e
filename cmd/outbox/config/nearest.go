package config

import "strings"

// nearest says which name is most like word, if any is: one that it is the beginning of, or one with few other letters.
func nearest(word string, name func(Setting) string) string {
	best, least := "", len(word)/3+2
	for _, s := range settings {
		if rest, longer := strings.CutPrefix(name(s), word); longer && strings.HasPrefix(rest, "_") {
			best = name(s)
			break
		}
		if d := distance(word, name(s)); d < least {
			best, least = name(s), d
		}
	}
	if best == "" {
		return ""
	}
	return ", did you mean " + best + "?"
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

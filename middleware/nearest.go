package middleware

import "strings"

// Nearest returns the known name that name is most likely a misspelling of, or "" when none is near.
func Nearest(name string, known []string) string {
	if len(name) > 64 {
		return ""
	}
	best, distance := "", 1+max(1, len(name)/3)
	for _, candidate := range known {
		if d := editDistance(strings.ToLower(name), strings.ToLower(candidate)); d < distance {
			best, distance = candidate, d
		}
	}
	return best
}

// didYouMean is the end of a message about an unknown name.
func didYouMean(name string, known []string) string {
	if near := Nearest(name, known); near != "" {
		return ", did you mean " + near + "?"
	}
	return "; known are " + strings.Join(known, ", ")
}

// editDistance counts the insertions, deletions, replacements and swaps of neighbours that turn a into b.
func editDistance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

package states

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// suggest is the hint for a name that is not among the known ones: the closest (of equally close ones the first), where one
// is close enough.
func suggest(name string, known []string) string {
	best, at := "", max(1, len(name)/3)+1
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k), at); d < at && k != name {
			best, at = k, d
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean " + quoteName(best) + "?"
}

func quoteName(s string) string { return `"` + s + `"` }

// distance is the optimal string alignment distance (Levenshtein with swaps of neighbours), or limit when it is at least
// that.
func distance(a, b string, limit int) int {
	if len(a) > 200 || len(b) > 200 || len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
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
	return min(last[len(b)], limit)
}

// keysOf are a map's keys, sorted.
func keysOf[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

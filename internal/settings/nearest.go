package settings

import "strings"

// nearest is the known name that name was probably meant to be, empty where none is like it. The prefix is what every
// name begins with, which therefore says nothing.
func nearest(name string, known []string, prefix string) string {
	short := strings.TrimPrefix(name, prefix)
	best, least := "", len(short)/2+2
	for _, k := range known {
		candidate := strings.TrimPrefix(k, prefix)
		d := distance(short, candidate)
		// People leave out the first word of a name.
		if i := strings.IndexAny(candidate, "-_."); i >= 0 {
			d = min(d, distance(short, candidate[i+1:])+1)
		}
		if d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is the number of bytes to insert, delete or replace to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

package view

import (
	"cmp"
	"slices"
	"sort"
)

// byBirth orders entries by their births, byEnd by their ends, as the stream has them. Those that a loss has left without a birth come
// before all others.
func byBirth(a, b *entry) int {
	if a.birth != b.birth { // nearly always: cmp.Or would compare the ids as well
		return cmp.Compare(a.birth, b.birth)
	}
	return cmp.Compare(a.id, b.id)
}

func byEnd(a, b *entry) int { return cmp.Compare(a.endSeq, b.endSeq) }

// insert puts an entry at its place in a list, behind those that are equal.
func insert(list []*entry, e *entry, order func(a, b *entry) int) []*entry {
	return slices.Insert(list, countUpTo(list, func(other *entry) bool { return order(other, e) > 0 }), e)
}

// countUpTo counts the entries of an ordered list that do not come later. What is looked for is mostly near the end: a search that halves the
// list would look at entries that nothing else has looked at for long, which is what takes the time.
func countUpTo(list []*entry, later func(e *entry) bool) int {
	from, to, step := len(list), len(list), 1
	for from > 0 && later(list[from-1]) {
		from, to, step = max(from-step, 0), from-1, 2*step
	}
	return from + sort.Search(to-from, func(i int) bool { return later(list[from+i]) })
}

// remove takes an entry out of a list. What goes is mostly the oldest, and then nothing is moved.
func remove(list []*entry, e *entry) []*entry {
	switch at := slices.Index(list, e); at {
	case -1:
		return list
	case 0:
		list[0] = nil
		return list[1:]
	default:
		return slices.Delete(list, at, at+1)
	}
}

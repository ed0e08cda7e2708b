package view

import (
	"cmp"
	"slices"
)

// byBirth orders entries by their births, byEnd by their ends, as the stream has them. Those that a loss has left without a birth come
// before all others.
func byBirth(a, b *entry) int { return cmp.Or(cmp.Compare(a.birth, b.birth), cmp.Compare(a.id, b.id)) }
func byEnd(a, b *entry) int   { return cmp.Compare(a.endSeq, b.endSeq) }

// insert puts an entry at its place in a list, behind those that are equal. What comes is mostly the newest.
func insert(list []*entry, e *entry, order func(a, b *entry) int) []*entry {
	if n := len(list); n == 0 || order(list[n-1], e) <= 0 {
		return append(list, e)
	}
	at, _ := slices.BinarySearchFunc(list, e, func(other, e *entry) int { return cmp.Or(order(other, e), -1) })
	return slices.Insert(list, at, e)
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

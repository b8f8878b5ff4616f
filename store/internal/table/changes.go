package table

import "sort"

// A Change says that the record under Key changed at revision Rev.
type Change struct {
	Rev     uint64
	Key     string
	Deleted bool
}

// changeLog remembers the newest changes, in order of revision.
type changeLog struct {
	ring  []Change
	first int // index of the oldest change
	max   int
	floor uint64 // changes up to here are forgotten
	last  uint64
}

func (l *changeLog) add(c Change) {
	l.last = c.Rev
	if len(l.ring) < l.max {
		l.ring = append(l.ring, c)
		return
	}
	l.floor = l.ring[l.first].Rev
	l.ring[l.first] = c
	l.first = (l.first + 1) % len(l.ring)
}

func (l *changeLog) at(i int) *Change { return &l.ring[(l.first+i)%len(l.ring)] }

// Floor returns the revision after which every change is remembered.
func (t *Table[V]) Floor() uint64 { return t.changes.floor }

// LastChange returns the revision of the newest change.
func (t *Table[V]) LastChange() uint64 { return t.changes.last }

// Changes returns up to n changes after revision after and up to revision
// upto, oldest first. ok is false if some of them are forgotten.
func (t *Table[V]) Changes(after, upto uint64, n int) (changes []Change, ok bool) {
	l := &t.changes
	if after < l.floor {
		return nil, false
	}
	i := sort.Search(len(l.ring), func(i int) bool { return l.at(i).Rev > after })
	for ; i < len(l.ring) && len(changes) < n && l.at(i).Rev <= upto; i++ {
		changes = append(changes, *l.at(i))
	}
	return changes, true
}

// ForgetChanges makes all changes up to rev unknown.
func (t *Table[V]) ForgetChanges(rev uint64) {
	t.changes = changeLog{max: t.changes.max, floor: rev, last: rev}
}

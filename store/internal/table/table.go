// Package table is the in-memory index of records that engines share: an
// ordered map with expiry times and a bounded log of changes.
package table

import (
	"sort"
	"strings"
)

// An Item is one record of a table; V is what the engine keeps for it.
type Item[V any] struct {
	Key     string
	Value   V
	Rev     uint64
	Expires int64 // Unix nanoseconds, 0 for never
	due     int64 // when the expiry queue will look at it, 0 for never
}

// Expired reports that the item is past its time.
func (it *Item[V]) Expired(now int64) bool { return it.Expires != 0 && it.Expires <= now }

// blockSize is how many items a block holds before it is split. Small enough
// that an insertion moves little, large enough that a million records make a
// short list of blocks.
const blockSize = 256

// A Table is an ordered map from keys to items: a sorted list of sorted blocks,
// which costs no pointer and no allocation per item. It is not safe for
// concurrent use; the engine holds its lock.
type Table[V any] struct {
	blocks  [][]Item[V]
	count   int
	expiry  expiryQueue
	changes changeLog
}

// New returns a table that remembers the last maxChanges changes. Changes up to
// revision rev count as unknown.
func New[V any](maxChanges int, rev uint64) *Table[V] {
	return &Table[V]{changes: changeLog{max: maxChanges, floor: rev, last: rev}}
}

// Len returns the number of items, expired ones that are still there included.
func (t *Table[V]) Len() int { return t.count }

// find returns where key is or belongs.
func (t *Table[V]) find(key string) (b, i int, found bool) {
	b = sort.Search(len(t.blocks), func(n int) bool { return t.blocks[n][0].Key > key }) - 1
	if b < 0 {
		return 0, 0, false
	}
	block := t.blocks[b]
	i = sort.Search(len(block), func(n int) bool { return block[n].Key >= key })
	return b, i, i < len(block) && block[i].Key == key
}

// Get returns the item under key, valid until the next change of the table, or
// nil.
func (t *Table[V]) Get(key string) *Item[V] {
	b, i, found := t.find(key)
	if !found {
		return nil
	}
	return &t.blocks[b][i]
}

// Put sets the item under it.Key and remembers the change.
func (t *Table[V]) Put(it Item[V]) {
	b, i, found := t.find(it.Key)
	if found {
		old := &t.blocks[b][i]
		it.Key, it.due = old.Key, old.due // one copy of the key for table, queue and log
		t.schedule(&it)
		*old = it
	} else {
		it.due = 0
		t.schedule(&it)
		t.insert(b, i, it)
	}
	t.changes.add(Change{Rev: it.Rev, Key: it.Key})
}

// Load is Put for an item that was there before the table was: nothing changes.
func (t *Table[V]) Load(it Item[V]) {
	b, i, found := t.find(it.Key)
	if found {
		it.Key, it.due = t.blocks[b][i].Key, t.blocks[b][i].due
		t.schedule(&it)
		t.blocks[b][i] = it
		return
	}
	it.due = 0
	t.schedule(&it)
	t.insert(b, i, it)
}

// Forget removes the item under key, if any, without remembering a change.
func (t *Table[V]) Forget(key string) {
	if b, i, found := t.find(key); found {
		t.remove(b, i)
	}
}

// Delete removes the item under key and remembers the change as revision rev.
func (t *Table[V]) Delete(key string, rev uint64) {
	if b, i, found := t.find(key); found {
		t.remove(b, i)
	}
	t.changes.add(Change{Rev: rev, Key: key, Deleted: true})
}

func (t *Table[V]) insert(b, i int, it Item[V]) {
	t.count++
	if len(t.blocks) == 0 {
		t.blocks = append(t.blocks, []Item[V]{it})
		return
	}
	block := t.blocks[b]
	if len(block) == blockSize {
		b, i = t.split(b, i)
		block = t.blocks[b]
	}
	block = append(block, it)
	copy(block[i+1:], block[i:])
	block[i] = it
	t.blocks[b] = block
}

// split makes two blocks of block b and returns where position i went. A block
// that grows at its end is split there, so that keys that arrive in order, such
// as times, fill their blocks.
func (t *Table[V]) split(b, i int) (int, int) {
	block := t.blocks[b]
	at := blockSize / 2
	if i == blockSize {
		at = blockSize - 8
	}
	right := append(make([]Item[V], 0, blockSize-at+8), block[at:]...)
	clear(block[at:])
	t.blocks[b] = block[:at]
	t.blocks = append(t.blocks, nil)
	copy(t.blocks[b+2:], t.blocks[b+1:])
	t.blocks[b+1] = right
	if i >= at {
		return b + 1, i - at
	}
	return b, i
}

func (t *Table[V]) remove(b, i int) {
	if it := &t.blocks[b][i]; it.due != 0 {
		t.expiry.stale++
	}
	t.count--
	block := t.blocks[b]
	copy(block[i:], block[i+1:])
	clear(block[len(block)-1:])
	block = block[:len(block)-1]
	t.blocks[b] = block
	switch {
	case len(block) == 0:
		t.blocks = append(t.blocks[:b], t.blocks[b+1:]...)
	case b+1 < len(t.blocks) && len(block)+len(t.blocks[b+1]) <= blockSize/2:
		t.blocks[b] = append(block, t.blocks[b+1]...)
		t.blocks = append(t.blocks[:b+1], t.blocks[b+2:]...)
	}
	t.tidyExpiry()
}

// Page appends to page up to n items whose keys begin with prefix and come
// after the key after ("" for the first) and returns it.
func (t *Table[V]) Page(page []Item[V], prefix, after string, n int) []Item[V] {
	from := max(prefix, after)
	b, i, found := t.find(from)
	if found && from == after {
		i++
	}
	for ; b < len(t.blocks) && n > 0; b, i = b+1, 0 {
		block := t.blocks[b]
		for ; i < len(block) && n > 0; i++ {
			if !strings.HasPrefix(block[i].Key, prefix) {
				return page
			}
			page = append(page, block[i])
			n--
		}
	}
	return page
}

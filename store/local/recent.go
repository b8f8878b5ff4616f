package local

import (
	"slices"
	"sync/atomic"

	"github.com/causeway-mcp/causeway/store"
	"github.com/causeway-mcp/causeway/store/internal/table"
)

// recentReads keeps some of the records that were read last, so that what is asked for with
// every request (a session, a grant) is not read from its file each time. It cannot be stale:
// the table says which change is the current one, and a change has its number for itself.
// Records that would be in the same slot drive each other out. At most 1 MiB in all.
type recentReads struct {
	slots [512]atomic.Pointer[store.Record]
}

const largestRecent = 2 << 10

func (c *recentReads) slot(revision uint64) *atomic.Pointer[store.Record] {
	return &c.slots[revision%uint64(len(c.slots))]
}

// get returns the record that it names, which is the caller's.
func (c *recentReads) get(it *table.Item[place]) (store.Record, bool) {
	r := c.slot(it.Rev).Load()
	if r == nil || uint64(r.Revision) != it.Rev || r.Key != it.Key {
		return store.Record{}, false
	}
	own := *r
	own.Value = slices.Clone(r.Value)
	return own, true
}

func (c *recentReads) put(r *store.Record) {
	if len(r.Value) > largestRecent {
		return
	}
	kept := *r
	kept.Value = slices.Clone(r.Value)
	c.slot(uint64(r.Revision)).Store(&kept)
}

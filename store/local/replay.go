package local

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/causeway-mcp/causeway/store"
	"github.com/causeway-mcp/causeway/store/internal/table"
)

// replay builds the memory of a store from frames in any order, each perhaps
// several times: an index that was written while the store went on, a pack and
// the segment it was made from. The newest change wins.
type replay struct {
	s       *Store
	deleted map[string]uint64         // newest deletion of a record
	buried  map[store.ObjectID]uint64 // newest tombstone
	blobs   map[store.ObjectID][]namedBlob
	// headless has the objects whose first entry so far is not their beginning.
	headless map[store.ObjectID]bool
	lost     uint32 // a file that the index knows and the directory lacks
	frames   int
}

type namedBlob struct {
	store.Blob
	lsn uint64 // of the entry that names it
}

func newReplay(s *Store) *replay {
	return &replay{s: s, deleted: make(map[string]uint64), buried: make(map[store.ObjectID]uint64),
		blobs: make(map[store.ObjectID][]namedBlob), headless: make(map[store.ObjectID]bool)}
}

// apply takes the frame f, which lies at p.
func (r *replay) apply(f *frame, p place) {
	r.frames++
	switch {
	case f.typ == framePut:
		r.put(f, p)
	case f.typ == frameDelete:
		r.delete(f)
	case f.typ == frameTombstone:
		r.bury(f)
	default:
		r.entry(f.object(), entry{f.lsn, p}, f.resets(), f.blobs)
	}
}

func (r *replay) put(f *frame, p place) {
	it := r.s.records.Get(f.key)
	if r.deleted[f.key] > f.lsn || it != nil && it.Rev >= f.lsn {
		return
	}
	if it != nil {
		r.s.drop(it.Value)
	}
	r.s.live(p)
	r.s.records.Load(table.Item[place]{Key: f.key, Value: p, Rev: f.lsn, Expires: f.expires})
}

func (r *replay) delete(f *frame) {
	r.deleted[f.key] = max(r.deleted[f.key], f.lsn)
	if it := r.s.records.Get(f.key); it != nil && it.Rev < f.lsn {
		r.s.drop(it.Value)
		r.s.records.Forget(f.key)
	}
}

func (r *replay) bury(f *frame) {
	id := f.object()
	r.buried[id] = max(r.buried[id], f.lsn)
	o := r.s.objects[id]
	if o == nil || o.first.lsn > f.lsn {
		return
	}
	if r.cut(id, o, f.lsn) {
		r.headless[id] = true
	} else {
		delete(r.headless, id)
	}
}

// cut drops the entries of o before lsn, and o if there are no others, which it
// reports.
func (r *replay) cut(id store.ObjectID, o *object, lsn uint64) (left bool) {
	r.blobs[id] = slices.DeleteFunc(r.blobs[id], func(b namedBlob) bool { return b.lsn < lsn })
	if len(r.blobs[id]) == 0 {
		delete(r.blobs, id)
	}
	all := append([]entry{o.first}, o.more...)
	keep := 0
	for keep < len(all) && all[keep].lsn < lsn {
		r.s.drop(all[keep].at)
		keep++
	}
	if keep == len(all) {
		delete(r.s.objects, id)
		return false
	}
	o.set(all[keep:])
	return true
}

func (o *object) set(all []entry) {
	*o = object{first: all[0]}
	if len(all) > 1 {
		o.more = slices.Clone(all[1:])
	}
}

// entry takes an entry. Those before a reset or a tombstone do not count. An
// object without a reset at its head is headless until that is found too.
func (r *replay) entry(id store.ObjectID, e entry, resets bool, blobs []store.Blob) {
	o := r.s.objects[id]
	switch {
	case r.buried[id] > e.lsn:
		return
	case o != nil && (o.find(e.lsn) != nil || o.first.lsn > e.lsn && !r.headless[id]):
		return
	}
	r.s.live(e.at)
	for _, b := range blobs {
		r.blobs[id] = append(r.blobs[id], namedBlob{b, e.lsn})
	}
	switch {
	case o == nil:
		id.Kind = r.s.intern(id.Kind)
		r.s.objects[id] = &object{first: e}
		if !resets {
			r.headless[id] = true
		}
		return
	case e.lsn > o.tail():
		o.more = append(o.more, e)
	default:
		all := append([]entry{o.first}, o.more...)
		at, _ := slices.BinarySearchFunc(all, e, func(a, b entry) int { return cmp.Compare(a.lsn, b.lsn) })
		o.set(slices.Insert(all, at, e))
	}
	if resets {
		r.cut(id, o, e.lsn)
		delete(r.headless, id)
	}
}

// finish checks that nothing is missing and hands the blobs over.
func (r *replay) finish() error {
	for id := range r.headless {
		return fmt.Errorf("%w: the beginning of the journal of a %s is missing; restore the directory from a backup", store.ErrDamaged, id.Kind)
	}
	if r.lost != 0 {
		return fmt.Errorf("%w: %s is missing; restore the directory from a backup", store.ErrDamaged, r.s.disk.Path(packName(r.lost)))
	}
	for id, blobs := range r.blobs {
		for _, b := range blobs {
			if have := r.s.blobs[b.ID]; have != nil {
				have.lsn = max(have.lsn, b.lsn)
				continue
			}
			r.s.keepBlob(b.ID, &blobState{object: id, size: b.Size, lsn: b.lsn})
		}
	}
	return nil
}

// live counts the frame at p as needed.
func (s *Store) live(p place) {
	if d := s.files[p.file]; d != nil {
		d.live += int64(p.size)
	}
}

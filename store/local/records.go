package local

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/causeway-mcp/causeway/store"
	"github.com/causeway-mcp/causeway/store/internal/table"
)

// Get implements [store.Records].
func (s *Store) Get(ctx context.Context, key string) (store.Record, error) {
	if err := ctx.Err(); err != nil {
		return store.Record{}, err
	}
	s.mu.RLock()
	if err := s.readable(); err != nil {
		s.mu.RUnlock()
		return store.Record{}, err
	}
	it := s.records.Get(key)
	var item table.Item[place]
	var file *dataFile
	if it != nil && !it.Expired(time.Now().UnixNano()) {
		item = *it
		file = s.files[item.Value.file].hold()
	}
	lsn := s.gone[key]
	if it != nil {
		lsn = max(lsn, it.Rev)
	}
	behind := lsn > s.durable
	s.mu.RUnlock()
	if file != nil {
		defer file.release()
	}
	if behind {
		if err := s.settled(ctx, lsn); err != nil {
			return store.Record{}, err
		}
	}
	if file == nil {
		return store.Record{}, store.ErrNotFound
	}
	if r, ok := s.recent.get(&item); ok {
		return r, nil
	}
	r, err := s.readRecord(file, &item)
	if err == nil {
		s.recent.put(&r)
	}
	return r, err
}

// readable reports why nothing may be read. A store that has stopped still
// shows what was acknowledged.
func (s *Store) readable() error {
	if errors.Is(s.err, store.ErrClosed) {
		return store.ErrClosed
	}
	return nil
}

func (s *Store) readRecord(d *dataFile, it *table.Item[place]) (store.Record, error) {
	f, err := s.readFrame(d, it.Value, it.Rev)
	if err != nil {
		return store.Record{}, fmt.Errorf("reading a record: %w", err)
	}
	if f.typ != framePut || f.key != it.Key {
		return store.Record{}, fmt.Errorf("reading a record: %w", s.damage(d, int64(it.Value.off), errors.New("another change lies there")))
	}
	r := store.Record{Key: it.Key, Value: f.body, Revision: store.Revision(it.Rev)}
	if it.Expires != 0 {
		r.Expires = time.Unix(0, it.Expires)
	}
	return r, nil
}

// readFrame reads one frame. Its body is the caller's.
func (s *Store) readFrame(d *dataFile, at place, lsn uint64) (frame, error) {
	b := make([]byte, at.size)
	if _, err := d.f.ReadAt(b, int64(at.off)); err != nil {
		return frame{}, fmt.Errorf("reading %s at offset %d: %w", s.disk.Path(d.name), at.off, err)
	}
	f, _, err := parseFrame(b, s.seed)
	if err == nil && f.lsn != lsn {
		err = fmt.Errorf("change %d lies where %d belongs", f.lsn, lsn)
	}
	if err != nil {
		return frame{}, s.damage(d, int64(at.off), err)
	}
	return f, nil
}

// GetCached implements [store.Records]. It is always fresh.
func (s *Store) GetCached(ctx context.Context, key string) (store.Record, time.Duration, error) {
	r, err := s.Get(ctx, key)
	return r, 0, err
}

// Put implements [store.Records].
func (s *Store) Put(ctx context.Context, key string, value []byte, prev store.Revision, opts *store.PutOptions) (store.Revision, error) {
	w := store.RecordWrite{Key: key, Value: value, Prev: prev}
	if opts != nil {
		w.TTL = opts.TTL
	}
	p, err := s.change(ctx, &w)
	if err != nil {
		return 0, err
	}
	seq, err := p.Wait(ctx)
	return store.Revision(seq), err
}

// Delete implements [store.Records].
func (s *Store) Delete(ctx context.Context, key string, prev store.Revision) error {
	p, err := s.change(ctx, &store.RecordWrite{Key: key, Prev: prev, Delete: true})
	if err != nil {
		return err
	}
	_, err = p.Wait(ctx)
	return err
}

// change starts a change of one record.
func (s *Store) change(ctx context.Context, w *store.RecordWrite) (*pending, error) {
	if err := w.Check(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.room(ctx, recordRoom(w)); err != nil {
		return nil, err
	}
	now := time.Now().UnixNano()
	if err := s.checkRevision(w, now); err != nil {
		return nil, err
	}
	s.applyRecord(w, now)
	s.settleExpiry()
	s.wake()
	return &pending{s, s.open, store.Seq(s.lastLSN)}, nil
}

// recordRoom is how many bytes the frames of w take at most: an expired record
// is deleted first.
func recordRoom(w *store.RecordWrite) int {
	return 2*(frameHeader+len(w.Key)) + len(w.Value)
}

// checkRevision reports whether the record is where w expects it.
func (s *Store) checkRevision(w *store.RecordWrite, now int64) error {
	if w.Prev == store.AnyRevision {
		return nil
	}
	var have store.Revision
	if it := s.records.Get(w.Key); it != nil && !it.Expired(now) {
		have = store.Revision(it.Rev)
	}
	switch {
	case have == w.Prev:
		return nil
	case have == 0 && w.Delete:
		return store.ErrNotFound
	}
	return store.ErrConflict
}

// applyRecord makes the change in the open batch and in memory. A record that
// has expired is deleted first, so that watchers see it go.
func (s *Store) applyRecord(w *store.RecordWrite, now int64) {
	it := s.records.Get(w.Key)
	if it != nil && (w.Delete || it.Expired(now)) {
		s.deleteRecord(it)
		it = nil
	}
	if w.Delete {
		return
	}
	f := frame{typ: framePut, key: w.Key, body: w.Value}
	f.expires = w.Expires(now)
	at := s.add(&f)
	if it != nil {
		s.drop(it.Value)
	}
	s.records.Put(table.Item[place]{Key: w.Key, Value: at, Rev: f.lsn, Expires: f.expires})
}

func (s *Store) deleteRecord(it *table.Item[place]) {
	key := it.Key
	at := s.add(&frame{typ: frameDelete, key: key})
	s.drop(at) // a deletion is not live: compaction knows when it is needed
	s.drop(it.Value)
	s.records.Delete(key, s.lastLSN)
	s.gone[key] = s.lastLSN
	s.open.gone = append(s.open.gone, key)
}

// drop counts the frame at p as no longer needed.
func (s *Store) drop(p place) {
	if d := s.files[p.file]; d != nil {
		d.live -= int64(p.size)
	}
}

// settleExpiry arms the sweep. The lock is held.
func (s *Store) settleExpiry() {
	at := s.records.NextDue()
	if at != 0 && (s.sweepAt == 0 || at < s.sweepAt) && s.err == nil {
		s.sweepAt = at
		s.sweep.Reset(time.Until(time.Unix(0, at)))
	}
}

// expire deletes what has expired, a part at a time so that nobody waits long.
func (s *Store) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweepAt = 0
	const part = 64
	if s.room(s.tending, part*(frameHeader+store.MaxKey)) != nil {
		if s.err == nil { // a full disk: reads do without the sweep, try again later
			s.sweepAt = time.Now().Add(time.Second).UnixNano()
			s.sweep.Reset(time.Second)
		}
		return
	}
	for _, key := range s.records.Due(time.Now().UnixNano(), part) {
		s.deleteRecord(s.records.Get(key))
	}
	s.settleExpiry()
	s.wake()
}

// List implements [store.Records].
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		after := ""
		for {
			page, err := s.page(ctx, prefix, after)
			if err != nil {
				yield(store.Record{}, err)
				return
			}
			if len(page) == 0 {
				return
			}
			after = page[len(page)-1].Key
			if !s.yieldPage(page, yield) {
				return
			}
		}
	}
}

type heldItem struct {
	table.Item[place]
	file *dataFile
}

// page returns the next records, durable and with their files held.
func (s *Store) page(ctx context.Context, prefix, after string) ([]heldItem, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	if err := s.readable(); err != nil {
		s.mu.RUnlock()
		return nil, err
	}
	items := s.records.Page(nil, prefix, after, 128)
	page := make([]heldItem, len(items))
	for i := range items {
		page[i] = heldItem{items[i], s.files[items[i].Value.file].hold()}
	}
	lsn := s.lastLSN // a record may also be missing because of a pending deletion
	s.mu.RUnlock()
	if err := s.settled(ctx, lsn); err != nil && !s.stoppedClean(page) {
		for i := range page {
			page[i].file.release()
		}
		return nil, err
	}
	return page, nil
}

// stoppedClean reports that a store that has stopped can still show the page:
// all of it was durable before.
func (s *Store) stoppedClean(page []heldItem) bool {
	if s.stoppedErr() == nil {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i := range page {
		if page[i].Rev > s.durable {
			return false
		}
	}
	return true
}

func (s *Store) yieldPage(page []heldItem, yield func(store.Record, error) bool) bool {
	now := time.Now().UnixNano()
	more := true
	for i := range page {
		if more && !page[i].Expired(now) {
			r, err := s.readRecord(page[i].file, &page[i].Item)
			more = yield(r, err) && err == nil
		}
		page[i].file.release()
	}
	return more
}

// Watch implements [store.Records].
func (s *Store) Watch(ctx context.Context, prefix string, since store.Revision) iter.Seq2[store.Change, error] {
	return table.Watch(ctx, prefix, uint64(since), feed{s})
}

type feed struct{ s *Store }

// Changes shows only what is durable.
func (f feed) Changes(since uint64, n int) ([]table.Change, uint64, <-chan struct{}, error) {
	s := f.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, 0, nil, s.err
	}
	if n == 0 {
		return nil, s.durable, nil, nil
	}
	changes, ok := s.records.Changes(since, s.durable, n)
	if !ok || since > s.durable {
		return nil, 0, nil, store.ErrCompacted
	}
	if len(changes) == n {
		return changes, changes[n-1].Rev, nil, nil
	}
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return changes, s.durable, s.changed, nil
}

func (f feed) Value(ctx context.Context, c table.Change) (store.Change, bool, error) {
	if c.Deleted {
		return store.Change{Record: store.Record{Key: c.Key, Revision: store.Revision(c.Rev)}, Deleted: true}, true, nil
	}
	if !f.current(c) {
		return store.Change{}, false, nil
	}
	r, err := f.s.Get(ctx, c.Key)
	switch {
	case errors.Is(err, store.ErrNotFound): // gone since; the deletion follows
		return store.Change{}, false, nil
	case err != nil:
		return store.Change{}, false, err
	}
	return store.Change{Record: r}, uint64(r.Revision) == c.Rev, nil
}

// current reports that no newer change of the record is under way, for which
// Get would wait.
func (f feed) current(c table.Change) bool {
	f.s.mu.RLock()
	defer f.s.mu.RUnlock()
	it := f.s.records.Get(c.Key)
	return it != nil && it.Rev == c.Rev
}

func (f feed) List(ctx context.Context, prefix string) iter.Seq2[store.Change, error] {
	return func(yield func(store.Change, error) bool) {
		for r, err := range f.s.List(ctx, prefix) {
			if !yield(store.Change{Record: r}, err) {
				return
			}
		}
	}
}

func (f feed) Heartbeat(rev uint64) store.Change {
	return store.Change{Heartbeat: true, Record: store.Record{Revision: store.Revision(rev)}}
}

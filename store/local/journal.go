package local

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/causeway-mcp/causeway/store"
)

// Append implements [store.Journal].
func (s *Store) Append(ctx context.Context, w store.Write) store.Pending {
	p, err := s.append(ctx, &w)
	if err != nil {
		return store.Settled(0, err)
	}
	return p
}

func (s *Store) append(ctx context.Context, w *store.Write) (store.Pending, error) {
	if err := w.Check(); err != nil {
		return nil, err
	}
	switch after := w.After.(type) {
	case nil:
	case *pending:
		w.Prev = after.seq // if it fails later, the store stops and so does this
		select {
		case <-after.b.done:
			if after.b.err != nil {
				return nil, after.b.err
			}
		default:
		}
	default:
		prev, err := after.Wait(ctx)
		if err != nil {
			return nil, err
		}
		w.Prev = prev
	}
	need := frameHeader + len(w.Object.Kind) + len(w.Object.ID) + store.MaxBlobs*64 + len(w.Entry.Body)
	for i := range w.Records {
		need += recordRoom(&w.Records[i])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.room(ctx, need); err != nil {
		return nil, err
	}
	now := time.Now().UnixNano()
	if err := s.checkWrite(w, now); err != nil {
		return nil, err
	}
	seq := s.applyEntry(w)
	for i := range w.Records {
		s.applyRecord(&w.Records[i], now)
	}
	if len(w.Records) > 0 {
		s.settleExpiry()
	}
	s.wake()
	return &pending{s, s.open, seq}, nil
}

func (s *Store) checkWrite(w *store.Write, now int64) error {
	o := s.objects[w.Object]
	var tail store.Seq
	if o != nil {
		tail = store.Seq(o.tail())
	}
	if tail != w.Prev {
		return store.ErrFenced
	}
	if o == nil && w.Entry.Kind == store.EntryTombstone {
		return store.ErrNotFound
	}
	for _, b := range w.Entry.Blobs {
		if have := s.blobs[b.ID]; have == nil || have.object != w.Object || have.size != b.Size {
			return fmt.Errorf("%w: the entry names a blob that is not the object's", store.ErrInvalid)
		}
	}
	for i := range w.Records {
		if s.checkRevision(&w.Records[i], now) != nil {
			return fmt.Errorf("record %d of the write: %w", i, store.ErrConflict)
		}
	}
	return nil
}

// applyEntry writes the entry to the open batch and memory, and returns the new
// tail.
func (s *Store) applyEntry(w *store.Write) store.Seq {
	o := s.objects[w.Object]
	f := frame{typ: frameEntry + frameType(w.Entry.Kind), kind: w.Object.Kind, key: w.Object.ID,
		blobs: w.Entry.Blobs, body: w.Entry.Body}
	if o == nil {
		f.flags = flagFirst
	}
	at := s.add(&f)
	if f.typ == frameTombstone {
		s.drop(at)
		s.dropEntries(w.Object, o, f.lsn)
		delete(s.objects, w.Object)
		s.buried[w.Object] = f.lsn
		s.open.buried = append(s.open.buried, w.Object)
		return 0
	}
	for _, b := range f.blobs {
		s.blobs[b.ID].lsn = f.lsn
	}
	e := entry{lsn: f.lsn, at: at}
	switch {
	case o == nil:
		id := store.ObjectID{Kind: s.intern(w.Object.Kind), ID: w.Object.ID}
		s.objects[id] = &object{first: e}
	case f.resets():
		s.dropEntries(w.Object, o, f.lsn)
		*o = object{first: e}
	default:
		o.more = append(o.more, e)
	}
	return store.Seq(f.lsn)
}

func (s *Store) intern(kind string) string {
	if k, ok := s.kinds[kind]; ok {
		return k
	}
	s.kinds[kind] = kind
	return kind
}

// dropEntries counts all entries of o as no longer needed, and those of its
// blobs that no entry from lsn on names.
func (s *Store) dropEntries(id store.ObjectID, o *object, lsn uint64) {
	s.drop(o.first.at)
	for i := range o.more {
		s.drop(o.more[i].at)
	}
	for _, name := range s.objectBlobs[id] {
		if b := s.blobs[name]; b != nil && b.lsn != 0 && b.lsn < lsn {
			s.dropBlob(name)
		}
	}
}

// Load implements [store.Journal]. It shows the journal as it was when the load
// began.
func (s *Store) Load(ctx context.Context, id store.ObjectID) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		entries, files, err := s.holdJournal(ctx, id)
		if err != nil {
			yield(store.Entry{}, err)
			return
		}
		defer func() {
			for _, d := range files {
				d.release()
			}
		}()
		for i := range entries {
			e, err := s.readEntry(files[i], id, &entries[i])
			if err == nil {
				err = ctx.Err()
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// holdJournal returns where the entries lie, all durable, with their files held.
func (s *Store) holdJournal(ctx context.Context, id store.ObjectID) ([]entry, []*dataFile, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	s.mu.RLock()
	if err := s.readable(); err != nil {
		s.mu.RUnlock()
		return nil, nil, err
	}
	lsn := s.buried[id]
	var entries []entry
	var files []*dataFile
	if o := s.objects[id]; o != nil {
		lsn = max(lsn, o.tail())
		entries = append(append(make([]entry, 0, 1+len(o.more)), o.first), o.more...)
		files = make([]*dataFile, len(entries))
		for i := range entries {
			files[i] = s.files[entries[i].at.file].hold()
		}
	}
	behind := lsn > s.durable
	s.mu.RUnlock()
	if behind {
		if err := s.settled(ctx, lsn); err != nil {
			for _, d := range files {
				d.release()
			}
			return nil, nil, err
		}
	}
	return entries, files, nil
}

func (s *Store) readEntry(d *dataFile, id store.ObjectID, e *entry) (store.Entry, error) {
	f, err := s.readFrame(d, e.at, e.lsn)
	if err == nil && (!f.isEntry() || f.object() != id) {
		err = s.damage(d, int64(e.at.off), errors.New("an entry of another object lies there"))
	}
	if err != nil {
		return store.Entry{}, fmt.Errorf("reading the journal of a %s: %w", id.Kind, err)
	}
	return store.Entry{Seq: store.Seq(f.lsn), Kind: f.entryKind(), Body: f.body, Blobs: f.blobs}, nil
}

// Stat implements [store.Journal].
func (s *Store) Stat(ctx context.Context, id store.ObjectID) (store.ObjectInfo, error) {
	if err := ctx.Err(); err != nil {
		return store.ObjectInfo{}, err
	}
	s.mu.RLock()
	if err := s.readable(); err != nil {
		s.mu.RUnlock()
		return store.ObjectInfo{}, err
	}
	o, lsn := s.objects[id], s.buried[id]
	var info store.ObjectInfo
	if o != nil {
		info = s.info(id, o)
		lsn = max(lsn, uint64(info.Tail))
	}
	behind := lsn > s.durable
	s.mu.RUnlock()
	if behind {
		if err := s.settled(ctx, lsn); err != nil {
			return store.ObjectInfo{}, err
		}
	}
	if o == nil {
		return store.ObjectInfo{}, store.ErrNotFound
	}
	return info, nil
}

// info describes o. The lock is held.
func (s *Store) info(id store.ObjectID, o *object) store.ObjectInfo {
	info := store.ObjectInfo{Object: id, Tail: store.Seq(o.tail()), Entries: 1 + len(o.more)}
	overhead := frameHeader + len(id.Kind) + len(id.ID)
	info.Size = int64(o.first.at.size) - int64(overhead)
	for i := range o.more {
		info.Size += int64(o.more[i].at.size) - int64(overhead)
	}
	return s.withBlobs(info)
}

// Objects implements [store.Journal].
func (s *Store) Objects(ctx context.Context, kind string) iter.Seq2[store.ObjectInfo, error] {
	return func(yield func(store.ObjectInfo, error) bool) {
		if err := s.eachObject(ctx, kind, yield); err != nil {
			yield(store.ObjectInfo{}, err)
		}
	}
}

// onlyDurable leaves out what changed last before the store stopped.
func (s *Store) onlyDurable(part []store.ObjectInfo) []store.ObjectInfo {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.DeleteFunc(part, func(info store.ObjectInfo) bool { return uint64(info.Tail) > s.durable })
}

// eachObject goes through the map in parts. A map may change during an
// iteration, which is what the lock, given back between the parts, allows.
func (s *Store) eachObject(ctx context.Context, kind string, yield func(store.ObjectInfo, error) bool) error {
	var part []store.ObjectInfo
	more := true
	flush := func() error {
		lsn := s.lastLSN
		s.mu.RUnlock()
		defer s.mu.RLock()
		err := s.settled(ctx, lsn)
		if errors.Is(err, store.ErrStopped) {
			part, err = s.onlyDurable(part), nil
		}
		if err != nil {
			return err
		}
		for i := range part {
			if more = more && yield(part[i], nil); !more {
				break
			}
		}
		part = part[:0]
		return ctx.Err()
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := errors.Join(s.readable(), ctx.Err()); err != nil {
		return err
	}
	for id, o := range s.objects {
		if kind != "" && id.Kind != kind {
			continue
		}
		if part = append(part, s.info(id, o)); len(part) < 256 {
			continue
		}
		err := flush()
		if !more {
			return nil
		}
		if err == nil {
			err = s.readable()
		}
		if err != nil {
			return err
		}
	}
	err := flush()
	if !more {
		return nil
	}
	return err
}

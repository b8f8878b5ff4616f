package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/causeway-mcp/causeway/store/internal/table"
)

// memoryChanges is how many changes a Memory remembers for watchers.
const memoryChanges = 1 << 16

// Memory is an [Engine] that keeps everything in memory, for tests and trials.
// It forgets everything when the process ends. A small record costs about 100
// bytes beside its key and value.
type Memory struct {
	mu      sync.Mutex
	closed  bool
	last    uint64 // the newest revision or sequence given out
	records *table.Table[[]byte]
	changed chan struct{} // closed at the next change, nil if nobody waits
	sweep   *time.Timer
	sweepAt int64

	journals map[ObjectID]*memoryJournal
	blobs    map[string]memoryBlob
}

type memoryJournal struct {
	entries []Entry
	size    int64
}

type memoryBlob struct {
	object ObjectID
	body   []byte
	put    time.Time // while no entry names it
}

// NewMemory returns an empty engine.
func NewMemory() *Memory {
	m := &Memory{
		records:  table.New[[]byte](memoryChanges, 0),
		journals: make(map[ObjectID]*memoryJournal),
		blobs:    make(map[string]memoryBlob),
	}
	m.sweep = time.AfterFunc(time.Hour, m.expire)
	m.sweep.Stop()
	return m
}

// Close forgets everything.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	m.sweep.Stop()
	m.notify()
	m.records, m.journals, m.blobs = nil, nil, nil
	return nil
}

// enter takes the lock if the engine may be used.
func (m *Memory) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return ErrClosed
	}
	return nil
}

// Get implements [Records].
func (m *Memory) Get(ctx context.Context, key string) (Record, error) {
	if err := m.enter(ctx); err != nil {
		return Record{}, err
	}
	it := m.records.Get(key)
	if it == nil || it.Expired(time.Now().UnixNano()) {
		m.mu.Unlock()
		return Record{}, ErrNotFound
	}
	seen := *it
	m.mu.Unlock()
	return memoryRecord(&seen), nil // values are replaced, never changed: copied without the lock
}

// GetCached implements [Records]. It is always fresh.
func (m *Memory) GetCached(ctx context.Context, key string) (Record, time.Duration, error) {
	r, err := m.Get(ctx, key)
	return r, 0, err
}

func memoryRecord(it *table.Item[[]byte]) Record {
	r := Record{Key: it.Key, Value: bytes.Clone(it.Value), Revision: Revision(it.Rev)}
	if it.Expires != 0 {
		r.Expires = time.Unix(0, it.Expires)
	}
	return r
}

// Put implements [Records].
func (m *Memory) Put(ctx context.Context, key string, value []byte, prev Revision, opts *PutOptions) (Revision, error) {
	w := RecordWrite{Key: key, Value: value, Prev: prev}
	if opts != nil {
		w.TTL = opts.TTL
	}
	if err := w.Check(); err != nil {
		return 0, err
	}
	if err := m.enter(ctx); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	now := time.Now().UnixNano()
	if err := m.checkRevision(&w, now); err != nil {
		return 0, err
	}
	m.apply(&w, now)
	m.settle()
	return Revision(m.last), nil
}

// Delete implements [Records].
func (m *Memory) Delete(ctx context.Context, key string, prev Revision) error {
	w := RecordWrite{Key: key, Prev: prev, Delete: true}
	if err := w.Check(); err != nil {
		return err
	}
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	now := time.Now().UnixNano()
	if err := m.checkRevision(&w, now); err != nil {
		return err
	}
	m.apply(&w, now)
	m.settle()
	return nil
}

// checkRevision reports whether the record is where w expects it.
func (m *Memory) checkRevision(w *RecordWrite, now int64) error {
	if w.Prev == AnyRevision {
		return nil
	}
	var have Revision
	if it := m.records.Get(w.Key); it != nil && !it.Expired(now) {
		have = Revision(it.Rev)
	}
	switch {
	case have == w.Prev:
		return nil
	case have == 0 && w.Delete:
		return ErrNotFound
	}
	return ErrConflict
}

// apply makes the change. An expired record is deleted first, so that watchers
// see it go.
func (m *Memory) apply(w *RecordWrite, now int64) {
	it := m.records.Get(w.Key)
	if it != nil && (w.Delete || it.Expired(now)) {
		m.last++
		m.records.Delete(it.Key, m.last)
	}
	if w.Delete {
		return
	}
	m.last++
	item := table.Item[[]byte]{Key: w.Key, Value: bytes.Clone(w.Value), Rev: m.last}
	item.Expires = w.Expires(now)
	m.records.Put(item)
}

// settle wakes watchers and arms the sweep after changes.
func (m *Memory) settle() {
	m.notify()
	at := m.records.NextDue()
	if at != 0 && (m.sweepAt == 0 || at < m.sweepAt) {
		m.sweepAt = at
		m.sweep.Reset(time.Until(time.Unix(0, at)))
	}
}

func (m *Memory) notify() {
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}

// expire deletes what has expired, a part at a time so that nobody waits long.
func (m *Memory) expire() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	for _, key := range m.records.Due(time.Now().UnixNano(), 1000) {
		m.last++
		m.records.Delete(key, m.last)
	}
	m.sweepAt = 0
	m.settle()
}

// List implements [Records].
func (m *Memory) List(ctx context.Context, prefix string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		after := ""
		var page []table.Item[[]byte]
		for {
			if err := m.enter(ctx); err != nil {
				yield(Record{}, err)
				return
			}
			page = m.records.Page(page[:0], prefix, after, 128)
			m.mu.Unlock()
			if len(page) == 0 {
				return
			}
			now := time.Now().UnixNano()
			for i := range page {
				if !page[i].Expired(now) && !yield(memoryRecord(&page[i]), nil) {
					return
				}
			}
			after = page[len(page)-1].Key
		}
	}
}

// Watch implements [Records].
func (m *Memory) Watch(ctx context.Context, prefix string, since Revision) iter.Seq2[Change, error] {
	return table.Watch(ctx, prefix, uint64(since), memoryFeed{m})
}

type memoryFeed struct{ m *Memory }

func (f memoryFeed) Changes(since uint64, n int) ([]table.Change, uint64, <-chan struct{}, error) {
	m := f.m
	if err := m.enter(context.Background()); err != nil {
		return nil, 0, nil, err
	}
	defer m.mu.Unlock()
	if n == 0 {
		return nil, m.last, nil, nil
	}
	changes, ok := m.records.Changes(since, m.last, n)
	if !ok || since > m.last {
		return nil, 0, nil, ErrCompacted
	}
	if len(changes) == n {
		return changes, changes[n-1].Rev, nil, nil
	}
	if m.changed == nil {
		m.changed = make(chan struct{})
	}
	return changes, m.last, m.changed, nil
}

func (f memoryFeed) Value(ctx context.Context, c table.Change) (Change, bool, error) {
	if c.Deleted {
		return Change{Record: Record{Key: c.Key, Revision: Revision(c.Rev)}, Deleted: true}, true, nil
	}
	r, err := f.m.Get(ctx, c.Key)
	switch {
	case err == ErrNotFound: // gone since; the deletion follows
		return Change{}, false, nil
	case err != nil:
		return Change{}, false, err
	}
	return Change{Record: r}, uint64(r.Revision) == c.Rev, nil
}

func (f memoryFeed) List(ctx context.Context, prefix string) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		for r, err := range f.m.List(ctx, prefix) {
			if !yield(Change{Record: r}, err) {
				return
			}
		}
	}
}

func (f memoryFeed) Heartbeat(rev uint64) Change {
	return Change{Heartbeat: true, Record: Record{Revision: Revision(rev)}}
}

// settledAppend is an append whose outcome was known at once.
type settledAppend struct {
	seq Seq
	err error
}

var closedChannel = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Settled returns an append that has ended with seq and err. It is for engines
// that refuse a write before they start it.
func Settled(seq Seq, err error) Pending { return settledAppend{seq, err} }

func (a settledAppend) Done() <-chan struct{} { return closedChannel }

func (a settledAppend) Wait(context.Context) (Seq, error) { return a.seq, a.err }

// Append implements [Journal].
func (m *Memory) Append(ctx context.Context, w Write) Pending {
	return Settled(m.append(ctx, &w))
}

func (m *Memory) append(ctx context.Context, w *Write) (Seq, error) {
	if err := w.Check(); err != nil {
		return 0, err
	}
	if w.After != nil {
		prev, err := w.After.Wait(ctx)
		if err != nil {
			return 0, err
		}
		w.Prev = prev
	}
	if err := m.enter(ctx); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	now := time.Now().UnixNano()
	if err := m.checkWrite(w, now); err != nil {
		return 0, err
	}
	m.last++
	seq := Seq(m.last)
	m.appendEntry(w, seq)
	for i := range w.Records {
		m.apply(&w.Records[i], now)
	}
	m.settle()
	if w.Entry.Kind == EntryTombstone {
		return 0, nil
	}
	return seq, nil
}

func (m *Memory) checkWrite(w *Write, now int64) error {
	var tail Seq
	if j := m.journals[w.Object]; j != nil {
		tail = j.entries[len(j.entries)-1].Seq
	}
	if tail != w.Prev {
		return ErrFenced
	}
	if tail == 0 && w.Entry.Kind == EntryTombstone {
		return ErrNotFound
	}
	for _, b := range w.Entry.Blobs {
		if have, ok := m.blobs[b.ID]; !ok || have.object != w.Object || int64(len(have.body)) != b.Size {
			return fmt.Errorf("%w: the entry names a blob that is not the object's", ErrInvalid)
		}
	}
	for i := range w.Records {
		err := m.checkRevision(&w.Records[i], now)
		if err != nil {
			return fmt.Errorf("record %d of the write: %w", i, ErrConflict)
		}
	}
	return nil
}

func (m *Memory) appendEntry(w *Write, seq Seq) {
	e := Entry{Seq: seq, Kind: w.Entry.Kind, Body: bytes.Clone(w.Entry.Body), Blobs: slices.Clone(w.Entry.Blobs)}
	j := m.journals[w.Object]
	if j == nil {
		j = new(memoryJournal)
		m.journals[w.Object] = j
	}
	if e.Kind == EntrySnapshot || e.Kind == EntryTombstone {
		m.dropBlobs(j.entries, e.Blobs)
		j.entries, j.size = nil, 0
	}
	if e.Kind == EntryTombstone {
		delete(m.journals, w.Object)
		return
	}
	j.entries = append(j.entries, e)
	j.size += int64(len(e.Body))
	for _, b := range e.Blobs {
		j.size += b.Size
		blob := m.blobs[b.ID]
		blob.put = time.Time{}
		m.blobs[b.ID] = blob
	}
}

func (m *Memory) dropBlobs(entries []Entry, keep []Blob) {
	for _, e := range entries {
		for _, b := range e.Blobs {
			if !slices.Contains(keep, b) {
				delete(m.blobs, b.ID)
			}
		}
	}
}

// Load implements [Journal].
func (m *Memory) Load(ctx context.Context, id ObjectID) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := m.enter(ctx); err != nil {
			yield(Entry{}, err)
			return
		}
		var entries []Entry
		if j := m.journals[id]; j != nil {
			entries = slices.Clone(j.entries) // the entries themselves never change
		}
		m.mu.Unlock()
		for _, e := range entries {
			e.Body, e.Blobs = bytes.Clone(e.Body), slices.Clone(e.Blobs)
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Stat implements [Journal].
func (m *Memory) Stat(ctx context.Context, id ObjectID) (ObjectInfo, error) {
	if err := m.enter(ctx); err != nil {
		return ObjectInfo{}, err
	}
	defer m.mu.Unlock()
	return m.info(id)
}

func (m *Memory) info(id ObjectID) (ObjectInfo, error) {
	j := m.journals[id]
	if j == nil {
		return ObjectInfo{}, ErrNotFound
	}
	return ObjectInfo{Object: id, Tail: j.entries[len(j.entries)-1].Seq, Entries: len(j.entries), Size: j.size}, nil
}

// Objects implements [Journal].
func (m *Memory) Objects(ctx context.Context, kind string) iter.Seq2[ObjectInfo, error] {
	return func(yield func(ObjectInfo, error) bool) {
		if err := m.enter(ctx); err != nil {
			yield(ObjectInfo{}, err)
			return
		}
		var infos []ObjectInfo
		for id := range m.journals {
			if kind == "" || id.Kind == kind {
				info, _ := m.info(id) // there, under the lock
				infos = append(infos, info)
			}
		}
		m.mu.Unlock()
		for _, info := range infos {
			if !yield(info, nil) {
				return
			}
		}
	}
}

// PutBlob implements [Journal].
func (m *Memory) PutBlob(ctx context.Context, id ObjectID, body io.Reader) (Blob, error) {
	if err := id.Check(); err != nil {
		return Blob{}, err
	}
	b, err := io.ReadAll(io.LimitReader(body, MaxBlob+1))
	if err != nil {
		return Blob{}, fmt.Errorf("reading a blob for a %s: %w", id.Kind, err)
	}
	if len(b) > MaxBlob {
		return Blob{}, fmt.Errorf("%w: blob over %d bytes", ErrTooLarge, MaxBlob)
	}
	if err := m.enter(ctx); err != nil {
		return Blob{}, err
	}
	defer m.mu.Unlock()
	m.dropOrphans()
	m.last++
	name := strconv.FormatUint(m.last, 36)
	m.blobs[name] = memoryBlob{object: id, body: b, put: time.Now()}
	return Blob{ID: name, Size: int64(len(b))}, nil
}

// dropOrphans forgets blobs that were put for an entry that never came.
func (m *Memory) dropOrphans() {
	for name, b := range m.blobs {
		if !b.put.IsZero() && time.Since(b.put) > time.Hour {
			delete(m.blobs, name)
		}
	}
}

// OpenBlob implements [Journal].
func (m *Memory) OpenBlob(ctx context.Context, id ObjectID, blob string) (io.ReadCloser, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	b, ok := m.blobs[blob]
	if !ok || b.object != id {
		return nil, ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(b.body)), nil
}

// Exclusive implements [Journal].
func (m *Memory) Exclusive() bool { return true }

// Volatile tells that nothing here is there for the next process.
func (m *Memory) Volatile() bool { return true }

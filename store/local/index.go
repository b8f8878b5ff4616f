package local

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"

	"github.com/causeway-mcp/causeway/internal/disk"
	"github.com/causeway-mcp/causeway/store"
	"github.com/causeway-mcp/causeway/store/internal/table"
)

// The file INDEX is what the store has in memory: where everything lies. It is
// written beside the traffic, a part at a time, so that later parts are newer
// than earlier ones. That does not matter: the log is replayed from where it
// stood when the index was begun, and the newest change wins.
//
// A file of the log or a pack is removed only after an index that does not
// need it is durable.
const indexMagic = 0x31584449_59415743 // "CWAYIDX1"

const (
	indexRecord = 'r'
	indexObject = 'o'
	indexBlob   = 'b'
	indexFileIs = 'f'
	indexEnd    = 'e'
)

// index is what the index says beside what it puts into the replay.
type index struct {
	tail logTail
}

// indexDue is how many changes may pass before the next index is begun: fewer than it may
// lag behind, since changes go on while it is written.
func (s *Store) indexDue() int { return max(1, s.opts.IndexEvery*3/4) }

// indexWriter encodes into a file.
type indexWriter struct {
	f   disk.File
	off int64
	crc uint32
	buf []byte
	err error

	unsynced int
}

// syncEvery is how many bytes are written beside the traffic before they are
// synced: a flood of dirty pages would hold up the log.
const syncEvery = 4 << 20

func (w *indexWriter) flush() {
	if w.err == nil && len(w.buf) > 0 {
		w.crc = crc32.Update(w.crc, castagnoli, w.buf)
		_, w.err = w.f.WriteAt(w.buf, w.off)
		w.off += int64(len(w.buf))
		w.unsynced += len(w.buf)
	}
	if w.err == nil && w.unsynced >= syncEvery {
		w.err = w.f.Sync()
		w.unsynced = 0
	}
	w.buf = w.buf[:0]
}

func (w *indexWriter) tag(t byte) { w.buf = append(w.buf, t) }

func (w *indexWriter) uint(n uint64) { w.buf = binary.AppendUvarint(w.buf, n) }

func (w *indexWriter) string(s string) {
	w.uint(uint64(len(s)))
	w.buf = append(w.buf, s...)
}

func (w *indexWriter) place(lsn uint64, p place) {
	w.uint(lsn)
	w.uint(uint64(p.file))
	w.uint(uint64(p.off))
	w.uint(uint64(p.size))
}

// writeIndex writes the index anew. Only one goroutine does that, the one that
// compacts, so that nothing moves meanwhile. Files that it leaves out may be
// removed afterwards.
func (s *Store) writeIndex(without ...*dataFile) error {
	err := s.writeIndexFile(without)
	if err != nil {
		s.disk.Remove(indexFile + ".tmp")
		return fmt.Errorf("writing %s: %w", s.disk.Path(indexFile), s.full(err))
	}
	return nil
}

func (s *Store) writeIndexFile(without []*dataFile) (err error) {
	f, err := s.disk.Open(indexFile+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	defer func() {
		if f != nil {
			f.Close()
		}
	}()
	w := &indexWriter{f: f, crc: s.seed}
	s.indexBody(w, without)
	last := s.lastGiven()
	w.flush()
	if w.err != nil {
		return w.err
	}
	if _, err := f.WriteAt(binary.LittleEndian.AppendUint32(nil, w.crc), w.off); err != nil {
		return err
	}
	// What the index says of the newest changes must be in the log by now.
	if err := s.logReaches(last); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	err = f.Close()
	f = nil
	if err != nil {
		return err
	}
	if err := s.disk.Rename(indexFile+".tmp", indexFile); err != nil {
		return err
	}
	s.mu.Lock()
	s.indexSize = w.off
	s.mu.Unlock()
	return s.disk.SyncDir(".")
}

func (s *Store) lastGiven() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.lastLSN
}

// indexBody writes everything, giving the lock back between parts.
func (s *Store) indexBody(w *indexWriter, without []*dataFile) {
	const part = 512
	s.mu.Lock()
	tail := s.tail
	objects := len(s.objects)
	s.dirty = 0
	s.mu.Unlock()
	w.buf = binary.LittleEndian.AppendUint64(w.buf, indexMagic)
	for _, n := range []uint64{formatVersion, tail.segment, uint64(tail.end), uint64(tail.crc), tail.lsn, uint64(objects)} {
		w.uint(n)
	}
	var items []table.Item[place]
	for after := ""; ; after = items[len(items)-1].Key {
		s.mu.RLock()
		items = s.records.Page(items[:0], "", after, part)
		s.mu.RUnlock()
		if len(items) == 0 {
			break
		}
		for i := range items {
			w.tag(indexRecord)
			w.string(items[i].Key)
			w.place(items[i].Rev, items[i].Value)
			w.uint(uint64(items[i].Expires))
		}
		w.flush()
	}
	s.indexObjects(w, part)
	s.mu.RLock()
	defer s.mu.RUnlock()
	for name, b := range s.blobs {
		if b.lsn != 0 {
			w.tag(indexBlob)
			w.string(b.object.Kind)
			w.string(b.object.ID)
			w.string(name)
			w.uint(uint64(b.size))
			w.uint(b.lsn)
		}
	}
	for _, d := range s.files {
		// The newer segments are found by following the log.
		if (d.pack || d.minLSN <= tail.lsn) && !contains(without, d) {
			w.tag(indexFileIs)
			for _, n := range []uint64{uint64(d.number), uint64(d.end), uint64(d.dead)} {
				w.uint(n)
			}
		}
	}
	w.tag(indexEnd)
}

func contains(files []*dataFile, d *dataFile) bool {
	for _, f := range files {
		if f == d {
			return true
		}
	}
	return false
}

func (s *Store) indexObjects(w *indexWriter, part int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := 0
	for id, o := range s.objects {
		w.tag(indexObject)
		w.string(id.Kind)
		w.string(id.ID)
		w.uint(uint64(len(o.more)))
		w.place(o.first.lsn, o.first.at)
		for i := range o.more {
			w.place(o.more[i].lsn, o.more[i].at)
		}
		if n++; n%part == 0 {
			s.mu.RUnlock()
			w.flush()
			s.mu.RLock()
		}
	}
}

// loadIndex reads the index into the replay. It returns nil if there is no good
// one. Files that it does not know and that are older than it are leftovers.
func (s *Store) loadIndex(c *catalogue, r *replay) (*index, error) {
	b, err := disk.ReadFile(s.disk, indexFile, math.MaxInt64)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", s.disk.Path(indexFile), err)
	}
	if len(b) < 12 || crc32.Update(s.seed, castagnoli, b[:len(b)-4]) != binary.LittleEndian.Uint32(b[len(b)-4:]) {
		s.log.Warn("the index is damaged and not used", "file", s.disk.Path(indexFile))
		return nil, nil
	}
	rd := &indexReader{b: b[:len(b)-4], interned: make(map[string]string)}
	ix, known := s.decodeIndex(rd, r)
	if rd.bad {
		return nil, fmt.Errorf("%w: %s was written by another version; remove it to have it made anew", ErrFormat, s.disk.Path(indexFile))
	}
	for n := range known {
		seg := c.segments[n]
		switch {
		case s.files[n] == nil:
			return nil, fmt.Errorf("%w: file %d of the log or the packs is missing; restore the directory from a backup", store.ErrDamaged, n)
		case seg != nil && seg.head == nil:
			return nil, s.damage(seg.file, 0, errors.New("the segment header is lost"))
		}
		s.files[n].end, s.files[n].dead = known[n].end, known[n].dead
	}
	c.leave(func(d *dataFile) bool {
		_, listed := known[d.number]
		return listed || !d.pack && d.minLSN > ix.tail.lsn
	})
	for _, p := range c.packs {
		if p.bad != nil {
			return nil, s.damage(p.file, 0, p.bad)
		}
	}
	return ix, nil
}

type knownFile struct{ end, dead int64 }

func (s *Store) decodeIndex(rd *indexReader, r *replay) (*index, map[uint32]knownFile) {
	known := make(map[uint32]knownFile)
	if rd.fixed() != indexMagic || rd.uint() != formatVersion {
		rd.bad = true
		return nil, nil
	}
	ix := &index{tail: logTail{segment: rd.uint(), end: int64(rd.uint()), crc: uint32(rd.uint()), lsn: rd.uint()}}
	if n := rd.uint(); n < uint64(len(rd.b)) { // a hint: about so many objects follow
		s.objects = make(map[store.ObjectID]*object, n)
	}
	for !rd.bad {
		switch rd.tag() {
		case indexRecord:
			it := table.Item[place]{Key: rd.string()}
			it.Rev, it.Value = rd.place()
			it.Expires = int64(rd.uint())
			if !rd.bad {
				s.live(it.Value)
				s.records.Load(it)
			}
		case indexObject:
			s.decodeObject(rd)
		case indexBlob:
			id := store.ObjectID{Kind: rd.intern(), ID: rd.string()}
			r.blobs[id] = append(r.blobs[id], namedBlob{store.Blob{ID: rd.string(), Size: int64(rd.uint())}, rd.uint()})
		case indexFileIs:
			n := uint32(rd.uint())
			known[n] = knownFile{int64(rd.uint()), int64(rd.uint())}
		case indexEnd:
			return ix, known
		default:
			rd.bad = true
		}
	}
	return nil, nil
}

func (s *Store) decodeObject(rd *indexReader) {
	id := store.ObjectID{Kind: s.intern(rd.intern()), ID: rd.string()}
	n := rd.uint()
	if n > uint64(len(rd.b)) {
		rd.bad = true
		return
	}
	o := new(object)
	o.first.lsn, o.first.at = rd.place()
	if n > 0 {
		o.more = make([]entry, n)
	}
	for i := range o.more {
		o.more[i].lsn, o.more[i].at = rd.place()
	}
	if rd.bad {
		return
	}
	s.live(o.first.at)
	for i := range o.more {
		s.live(o.more[i].at)
	}
	s.objects[id] = o
}

// indexReader decodes; bad is set when there is nothing sensible to decode.
type indexReader struct {
	b        []byte
	bad      bool
	interned map[string]string
}

func (r *indexReader) fixed() uint64 {
	if len(r.b) < 8 {
		r.bad = true
		return 0
	}
	n := binary.LittleEndian.Uint64(r.b)
	r.b = r.b[8:]
	return n
}

func (r *indexReader) tag() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	t := r.b[0]
	r.b = r.b[1:]
	return t
}

func (r *indexReader) uint() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.bad = true
		r.b = nil
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *indexReader) bytes() []byte {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *indexReader) string() string { return string(r.bytes()) }

// intern returns one copy of a string that is there often.
func (r *indexReader) intern() string {
	b := r.bytes()
	if s, ok := r.interned[string(b)]; ok {
		return s
	}
	s := string(bytes.Clone(b))
	r.interned[s] = s
	return s
}

func (r *indexReader) place() (uint64, place) {
	lsn, p := r.uint(), place{}
	p.file, p.off, p.size = uint32(r.uint()), uint32(r.uint()), uint32(r.uint())
	return lsn, p
}

package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"slices"
	"time"

	"github.com/causeway-mcp/causeway/internal/disk"
	"github.com/causeway-mcp/causeway/store"
)

// A pack holds frames that were copied out of segments, or out of other packs,
// because they are still needed. It is written whole and never changed. It
// names the files it replaces, so that a store that has lost its index does not
// read what is out of date.
type packHead struct {
	number   uint64
	end      int64 // of its frames
	minLSN   uint64
	dead     int64 // bytes of deletions
	replaces []uint32
}

// maxReplaced is how many files fit into a header, and maxInputs how many of them
// are inputs of one compaction.
const (
	maxReplaced = (page - 64) / 4
	maxInputs   = maxReplaced / 2
)

func (h *packHead) encode(seed uint32) []byte {
	b := make([]byte, page)
	binary.LittleEndian.PutUint64(b[0:], packMagic)
	binary.LittleEndian.PutUint64(b[16:], h.number)
	binary.LittleEndian.PutUint64(b[24:], uint64(h.end))
	binary.LittleEndian.PutUint64(b[32:], h.minLSN)
	binary.LittleEndian.PutUint64(b[40:], uint64(h.dead))
	binary.LittleEndian.PutUint32(b[48:], uint32(len(h.replaces)))
	for i, n := range h.replaces {
		binary.LittleEndian.PutUint32(b[64+4*i:], n)
	}
	binary.LittleEndian.PutUint32(b[8:], crc32.Update(seed, castagnoli, b[16:]))
	return b
}

func parsePackHead(b []byte, seed uint32, number uint64, size int64) (h packHead, err error) {
	if len(b) < page || binary.LittleEndian.Uint64(b) != packMagic {
		return h, errors.New("it has no pack header")
	}
	if crc32.Update(seed, castagnoli, b[16:page]) != binary.LittleEndian.Uint32(b[8:]) {
		return h, errors.New("the checksum of the pack header does not match")
	}
	h.number = binary.LittleEndian.Uint64(b[16:])
	h.end = int64(binary.LittleEndian.Uint64(b[24:]))
	h.minLSN = binary.LittleEndian.Uint64(b[32:])
	h.dead = int64(binary.LittleEndian.Uint64(b[40:]))
	n := binary.LittleEndian.Uint32(b[48:])
	switch {
	case h.number != number:
		return h, fmt.Errorf("it is the header of pack %d", h.number)
	case n > maxReplaced:
		return h, fmt.Errorf("it replaces %d files", n)
	case h.end < page || h.end > size:
		return h, fmt.Errorf("it is cut short: %d bytes of %d", size, h.end)
	}
	for i := range int(n) {
		h.replaces = append(h.replaces, binary.LittleEndian.Uint32(b[64+4*i:]))
	}
	return h, nil
}

// eachInPack visits the frames of a pack in order.
func (s *Store) eachInPack(d *dataFile, visit func(f *frame, at place) error) error {
	r := &segmentReader{f: d.f, size: d.end}
	for off := int64(page); off < d.end; {
		b, err := r.window(off, frameHeader)
		if err != nil {
			return fmt.Errorf("reading %s: %w", s.disk.Path(d.name), err)
		}
		n, err := frameSize(b)
		if err != nil {
			return s.damage(d, off, err)
		}
		if b, err = r.window(off, int64(n)); err != nil {
			return fmt.Errorf("reading %s: %w", s.disk.Path(d.name), err)
		}
		f, _, err := parseFrame(b, s.seed)
		if err != nil {
			return s.damage(d, off, err)
		}
		if err := visit(&f, place{d.number, uint32(off), uint32(n)}); err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// eachInSegment visits the frames of a sealed segment in order.
func (s *Store) eachInSegment(d *dataFile, visit func(f *frame, at place) error) error {
	if d.end <= page {
		return nil
	}
	head := make([]byte, page)
	if _, err := d.f.ReadAt(head, 0); err != nil {
		return fmt.Errorf("reading %s: %w", s.disk.Path(d.name), err)
	}
	h, err := parseSegmentHead(head, s.seed, uint64(d.number))
	if err != nil {
		return s.damage(d, 0, err)
	}
	r := &segmentReader{f: d.f, size: d.end, seed: s.seed, number: h.number, off: page, prev: h.prevCRC, lsn: h.firstLSN}
	for r.off < d.end {
		frames, err := r.next()
		if err != nil {
			return s.damage(d, r.off, err)
		}
		for i := range frames {
			p := &frames[i]
			if err := visit(&p.frame, place{d.number, uint32(p.off), uint32(p.size)}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) each(d *dataFile, visit func(f *frame, at place) error) error {
	if d.pack {
		return s.eachInPack(d, visit)
	}
	return s.eachInSegment(d, visit)
}

func (s *Store) needMaintenance() {
	for _, c := range []chan struct{}{s.tend, s.prepare} {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// maintain compacts, writes the index and removes blobs, beside the traffic.
func (s *Store) maintain() {
	tick := time.NewTicker(maintenanceInterval)
	defer tick.Stop()
	for {
		select {
		case <-s.tending.Done():
			return
		case <-s.failed:
			return
		case done := <-s.compactNow:
			done <- s.compactAll()
		case <-tick.C:
		case <-s.tend:
		}
		s.removeBlobs()
		if err := s.tidy(); err != nil && s.tending.Err() == nil {
			s.log.Error("maintaining the data directory", "dir", s.disk.Path("."), "err", err)
			select { // not at once again
			case <-s.tending.Done():
			case <-s.failed:
			case <-time.After(time.Second):
			}
		}
	}
}

// tidy compacts what is worth it, and writes the index when it is due.
func (s *Store) tidy() error {
	for {
		inputs := s.worthCompacting()
		if len(inputs) == 0 {
			break
		}
		if err := s.compactWithin(inputs); err != nil {
			return err
		}
	}
	if inputs := s.worthMerging(); len(inputs) > 0 {
		if err := s.compactWithin(inputs); err != nil {
			return err
		}
	}
	s.mu.RLock()
	due := s.dirty >= s.indexDue()
	s.mu.RUnlock()
	if !due {
		return nil
	}
	err := s.writeIndex()
	if errors.Is(err, store.ErrFull) && s.releaseReserve() {
		err = s.writeIndex()
	}
	return err
}

// compactWithin compacts, on a full disk within the reserve.
func (s *Store) compactWithin(inputs []*dataFile) error {
	err := s.compact(inputs)
	if errors.Is(err, store.ErrFull) && s.releaseReserve() {
		err = s.compact(inputs[:1])
	}
	return err
}

// worthCompacting returns the older half of the log when it is long.
func (s *Store) worthCompacting() []*dataFile {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.tail.segment == 0 {
		return nil // the first batch is still under way
	}
	limit := s.opts.Segments
	if s.spareErr != nil {
		limit = 1 // the disk is full: every segment helps
	}
	if len(s.sealed) >= limit {
		n := min((len(s.sealed)+1)/2, maxInputs)
		var inputs []*dataFile
		for _, d := range s.sealed[:n] {
			if d.damaged || uint64(d.number) == s.tail.segment {
				break // the log is compacted in order, and always has an end
			}
			inputs = append(inputs, d)
		}
		return inputs
	}
	return s.mostlyDead()
}

// mostlyDead returns the oldest segments if hardly anything in them is needed
// any more, as when few objects write much: giving them up is cheap, and using
// them again is cheaper than making new ones. But an index has to be written for it.
func (s *Store) mostlyDead() []*dataFile {
	if len(s.sealed) < 4 {
		return nil
	}
	var inputs []*dataFile
	var freed int64
	for _, d := range s.sealed {
		if d.damaged || uint64(d.number) == s.tail.segment || d.live > (d.end-page)/4 || len(inputs) == maxInputs {
			break
		}
		inputs = append(inputs, d)
		freed += d.size - d.live
	}
	if len(inputs) < 2 || freed < 4*s.indexSize {
		return nil
	}
	return inputs
}

// maxPack bounds a pack, so that merging stays a matter of seconds, and
// maxMerged one that all packs are merged into: places have 32 bits.
const (
	maxPack   = 1 << 30
	maxMerged = 3 << 30
)

// worthMerging returns packs of which little is needed.
func (s *Store) worthMerging() []*dataFile {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var packs []*dataFile
	var live, dead int64
	empty := 0 // packs that only say what they replace
	for _, d := range s.files {
		if d.pack && !d.damaged {
			if d.end == page {
				empty++
			}
			packs = append(packs, d)
			live, dead = live+d.live, dead+d.dead
		}
	}
	// Deletions must outlive everything they delete, so only all packs together
	// can get rid of them.
	all := dead > max(live/2, s.opts.SegmentSize/4) && live+dead < maxMerged
	slices.SortFunc(packs, func(a, b *dataFile) int { return int(a.live - b.live) })
	var inputs []*dataFile
	var size int64
	for _, d := range packs {
		if all || d.live+d.dead < (d.end-page)/2 || d.end == page && (len(s.condemned) == 0 || empty > 3) {
			if size += d.live + d.dead; !all && size > maxPack && len(inputs) > 0 || len(inputs) == maxInputs {
				break
			}
			inputs = append(inputs, d)
		}
	}
	return inputs
}

// compact copies what is needed of the inputs into a new pack, has the index
// point there and gives the inputs up. Until the index is durable the inputs
// are as good as before.
func (s *Store) compact(inputs []*dataFile) error {
	pack, err := s.writePack(inputs)
	if err != nil {
		return err
	}
	if pack != nil {
		if err := s.relocate(pack); err != nil {
			return err
		}
	}
	if err := s.writeIndex(inputs...); err != nil {
		return err
	}
	slices.SortFunc(inputs, func(a, b *dataFile) int { return int(int64(a.minLSN) - int64(b.minLSN)) })
	s.mu.Lock()
	for _, d := range inputs {
		delete(s.files, d.number)
		s.condemned[d.number] = true
	}
	s.sealed = slices.DeleteFunc(s.sealed, func(d *dataFile) bool { return contains(inputs, d) })
	s.mu.Unlock()
	for _, d := range inputs {
		d.release()
	}
	return nil
}

// replaces notes what the pack replaces: its inputs, and what older packs have
// replaced and may still be there. It reports whether the pack must say so even
// if it holds nothing.
func (s *Store) replaces(h *packHead, inputs []*dataFile) (must bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	must = len(s.condemned) > 0
	for _, d := range inputs {
		h.replaces = append(h.replaces, d.number)
		must = must || !d.pack
	}
	for n := range s.condemned {
		h.replaces = append(h.replaces, n)
	}
	return must
}

// writePack writes the pack and returns it open, or nil if nothing of the
// inputs is needed and nobody needs to know.
func (s *Store) writePack(inputs []*dataFile) (*dataFile, error) {
	h := packHead{number: uint64(s.fileNumber()), end: page, minLSN: math.MaxUint64}
	keep := s.replaces(&h, inputs)
	name := packName(uint32(h.number))
	f, err := s.disk.Open(name+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return nil, s.full(err)
	}
	if len(h.replaces) > maxReplaced {
		err = fmt.Errorf("%d files wait to be removed", len(h.replaces)-len(inputs))
	} else {
		err = s.fillPack(f, &h, inputs)
	}
	keep = keep || h.end > page
	if err == nil && keep {
		err = s.finishPack(f, &h)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && keep {
		f, err = s.publish("pack", name+".tmp", name)
	}
	if err != nil || !keep {
		s.disk.Remove(name + ".tmp")
		if err != nil {
			return nil, fmt.Errorf("writing %s: %w", s.disk.Path(name), s.full(err))
		}
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.newFile(f, name, uint32(h.number), h.end)
	d.pack, d.end, d.minLSN, d.dead = true, h.end, h.minLSN, h.dead
	return d, nil
}

// finishPack makes the contents of the pack durable.
func (s *Store) finishPack(f disk.File, h *packHead) error {
	if _, err := f.WriteAt(h.encode(s.seed), 0); err != nil {
		return err
	}
	// What was left out because something newer replaced it may go only when that
	// is durable.
	if err := s.logReaches(s.lastGiven()); err != nil {
		return err
	}
	return f.Sync()
}

// logReaches waits until the log is on the disk up to lsn.
func (s *Store) logReaches(lsn uint64) error {
	if err := s.settled(s.untilFailed(), lsn); err != nil {
		return err
	}
	if s.opts.Sync == PowerSafe {
		return nil
	}
	s.mu.RLock()
	segs := []*dataFile{s.open.seg.hold()}
	if n := len(s.sealed); n > 0 {
		segs = append(segs, s.sealed[n-1].hold())
	}
	s.mu.RUnlock()
	var err error
	for _, d := range segs {
		err = errors.Join(err, d.f.Sync())
		d.release()
	}
	return err
}

func (s *Store) fillPack(f disk.File, h *packHead, inputs []*dataFile) error {
	oldest := s.oldestOther(inputs)
	w := &indexWriter{f: f, off: page}
	for _, d := range inputs {
		err := s.each(d, func(fr *frame, at place) error {
			needed, deletion := s.needed(fr, at, oldest)
			if !needed {
				return nil
			}
			if deletion {
				h.dead += int64(at.size)
			}
			h.minLSN = min(h.minLSN, fr.lsn)
			w.buf = appendFrame(w.buf, fr, s.seed)
			if len(w.buf) > 1<<20 {
				w.flush()
			}
			return errors.Join(w.err, s.tending.Err())
		})
		if errors.Is(err, store.ErrDamaged) {
			s.mu.Lock()
			d.damaged = true
			s.mu.Unlock()
		}
		if err != nil {
			return err
		}
	}
	w.flush()
	h.end = w.off
	if h.end > math.MaxUint32 {
		return fmt.Errorf("a pack of %d bytes", h.end)
	}
	return w.err
}

// oldestOther returns the oldest change in any file but these.
func (s *Store) oldestOther(inputs []*dataFile) uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	oldest := uint64(math.MaxUint64)
	for _, d := range s.files {
		if !contains(inputs, d) {
			oldest = min(oldest, d.minLSN)
		}
	}
	return oldest
}

// needed reports whether the frame at its place still counts. A deletion does
// while what it deletes may lie in another file, unless there is something new
// under the name, which says the same.
func (s *Store) needed(f *frame, at place, oldest uint64) (needed, deletion bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch f.typ {
	case framePut:
		it := s.records.Get(f.key)
		return it != nil && it.Value == at, false
	case frameDelete:
		return s.records.Get(f.key) == nil && oldest < f.lsn, true
	case frameTombstone:
		return s.objects[f.object()] == nil && oldest < f.lsn, true
	}
	o := s.objects[f.object()]
	if o == nil {
		return false, false
	}
	e := o.find(f.lsn)
	return e != nil && e.at == at, false
}

// relocate points what the pack holds to the pack.
func (s *Store) relocate(pack *dataFile) error {
	return s.eachInPack(pack, func(f *frame, at place) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case f.typ == framePut:
			if it := s.records.Get(f.key); it != nil && it.Rev == f.lsn {
				s.move(&it.Value, at)
			}
		case f.typ == frameDelete || f.typ == frameTombstone:
		default:
			if o := s.objects[f.object()]; o != nil {
				if e := o.find(f.lsn); e != nil {
					s.move(&e.at, at)
				}
			}
		}
		return nil
	})
}

func (s *Store) move(p *place, to place) {
	s.drop(*p)
	s.live(to)
	*p = to
}

// recycle takes a file that nobody reads any more.
func (s *Store) recycle(d *dataFile) {
	s.mu.Lock()
	s.retired = append(s.retired, d)
	s.mu.Unlock()
	s.needMaintenance()
}

// prepareSegments keeps a segment ready, from files that are free or made
// anew, and the reserve filled.
func (s *Store) prepareSegments() {
	for {
		s.reuse()
		s.makeSpares()
		select {
		case <-s.tending.Done():
			s.reuse()
			return
		case <-s.failed:
			return
		case <-s.prepare:
		}
	}
}

// mostSpares is how many segments wait to be used again: those that one compaction frees, and
// one more for the time that the next one takes. Without it each turn of the log would fill a
// new file and remove an old one.
func (s *Store) mostSpares() int { return (s.opts.Segments+1)/2 + 1 }

// reuse makes spares of retired segments and removes other retired files.
func (s *Store) reuse() {
	s.mu.Lock()
	retired := s.retired
	s.retired = nil
	s.mu.Unlock()
	if len(retired) == 0 {
		return
	}
	var gone []uint32
	for _, d := range retired {
		s.mu.RLock()
		wanted := !d.pack && d.size == s.opts.SegmentSize && len(s.spares) < s.mostSpares() && s.tending.Err() == nil
		s.mu.RUnlock()
		d.f.Close()
		if !wanted {
			if err := s.disk.Remove(d.name); err != nil {
				s.log.Warn("removing a file that is not needed any more", "file", s.disk.Path(d.name), "err", err)
			} else {
				gone = append(gone, d.number)
			}
			continue
		}
		sp, err := s.renumber(d)
		if err != nil {
			s.log.Warn("reusing a segment", "file", s.disk.Path(d.name), "err", err)
			continue
		}
		gone = append(gone, d.number)
		s.addSpare(sp)
	}
	if err := s.syncNames(); err != nil {
		s.log.Warn("removing files that are not needed any more", "dir", s.disk.Path("."), "err", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range gone {
		delete(s.condemned, n)
	}
}

// syncNames makes it durable which segments and packs there are.
func (s *Store) syncNames() error {
	if err := s.disk.SyncDir("log"); err != nil {
		return err
	}
	return s.disk.SyncDir("pack")
}

// renumber makes a spare of a segment. What is in it counts no more, because it
// carries the old number. The new name must be durable before the segment is used.
func (s *Store) renumber(d *dataFile) (spare, error) {
	sp := spare{number: s.fileNumber(), size: d.size}
	sp.name = segmentName(sp.number)
	var err error
	sp.f, err = s.publish("log", d.name, sp.name)
	return sp, err
}

func (s *Store) addSpare(sp spare) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spares = append(s.spares, sp)
	if sp.size >= s.wantSpare {
		s.wantSpare = 0
	}
	s.spareErr = nil
	close(s.spareNew)
	s.spareNew = make(chan struct{})
}

func (s *Store) makeSpares() {
	s.mu.RLock()
	want, have := s.wantSpare, len(s.spares)
	s.mu.RUnlock()
	if want == 0 && have > 0 || s.tending.Err() != nil {
		return
	}
	sp, err := s.makeSpare(max(s.segmentSize(), want))
	if err == nil {
		s.addSpare(sp)
		s.fillReserve(sp.size)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spareErr == nil {
		s.log.Error("no room for more of the log; writes are refused when the present file is full", "dir", s.disk.Path("."), "err", err)
	}
	s.spareErr = err
	close(s.spareNew)
	s.spareNew = make(chan struct{})
}

// The reserve is a file that takes space, to give it back when the disk is full
// and compaction needs some to free more.
const reserveFile = "RESERVE"

func (s *Store) releaseReserve() bool {
	err := s.disk.Remove(reserveFile)
	s.reserve.Store(0)
	return err == nil
}

// fillReserve makes the reserve at least size bytes, if there is room for it.
func (s *Store) fillReserve(size int64) {
	if s.reserve.Load() >= size {
		return
	}
	f, err := s.disk.Open(reserveFile, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return
	}
	defer f.Close()
	if have, err := f.Size(); err != nil || have < size {
		if err := fill(f, size); err != nil {
			s.disk.Remove(reserveFile)
			return
		}
	}
	s.reserve.Store(size)
}

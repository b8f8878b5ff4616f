package local

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"os"

	"github.com/causeway-mcp/causeway/internal/disk"
	"github.com/causeway-mcp/causeway/store"
)

// A batch is what is written and made durable in one go. Its place is fixed
// when it is begun, so that readers know at once where a change will lie.
type batch struct {
	seg      *dataFile
	off      int64
	buf      []byte
	firstLSN uint64
	count    uint32
	sum      uint32 // over the frames' checksums
	gone     []string
	buried   []store.ObjectID
	taken    chan struct{} // closed when it takes no more
	done     chan struct{} // closed when err is final
	err      error
}

func (s *Store) newBatch(seg *dataFile, off int64, buf []byte) *batch {
	return &batch{
		seg: seg, off: off, buf: append(buf[:0], make([]byte, batchHeader)...), firstLSN: s.lastLSN + 1,
		taken: make(chan struct{}), done: make(chan struct{}),
	}
}

// add appends f to the open batch as the next change and returns its place. The
// lock is held and there is room.
func (s *Store) add(f *frame) place {
	b := s.open
	s.lastLSN++
	f.lsn = s.lastLSN
	start := len(b.buf)
	b.buf = appendFrame(b.buf, f, s.seed)
	b.sum = crc32.Update(b.sum, castagnoli, b.buf[start:start+4])
	b.count++
	s.dirty++
	size := len(b.buf) - start
	b.seg.live += int64(size)
	return place{file: b.seg.number, off: uint32(b.off + int64(start)), size: uint32(size)}
}

// room waits until the open batch takes n more bytes. It is called with the lock
// held and returns with it held, even when it fails.
func (s *Store) room(ctx context.Context, n int) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.err != nil {
			return s.err
		}
		b := s.open
		need := pages(int64(len(b.buf) + n))
		fits := b.off+need <= b.seg.size
		if fits && (b.count == 0 || need <= maxBatch) {
			return nil
		}
		wait := b.taken
		if b.count == 0 {
			ok, err := s.nextSegment(pages(batchHeader + int64(n)))
			if err != nil {
				return err
			}
			if ok {
				continue
			}
			wait = s.spareNew
		}
		s.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-wait:
		case <-s.failed:
		}
		s.mu.Lock()
	}
}

// untilFailed is a context for waits of the store's own.
func (s *Store) untilFailed() context.Context { return context.Background() }

// nextSegment moves the empty open batch to a prepared segment, if there is one
// with room for need bytes.
func (s *Store) nextSegment(need int64) (bool, error) {
	for i, sp := range s.spares {
		if sp.size < page+need {
			continue
		}
		s.spares = append(s.spares[:i], s.spares[i+1:]...)
		s.leaveSegment()
		seg := s.newFile(sp.f, sp.name, sp.number, sp.size)
		s.open.seg, s.open.off = seg, page
		seg.minLSN = s.open.firstLSN
		s.spareErr = nil
		s.needMaintenance()
		return true, nil
	}
	s.wantSpare = max(s.wantSpare, page+need)
	if err := s.spareErr; err != nil {
		s.needMaintenance() // there may be space by now
		return false, err
	}
	s.needMaintenance()
	return false, nil
}

// leaveSegment seals the segment of the empty open batch, or gives it back if
// nothing was ever written to it: then it has no header either.
func (s *Store) leaveSegment() {
	old := s.open.seg
	if s.open.off == page {
		delete(s.files, old.number)
		s.spares = append(s.spares, spare{old.f, old.name, old.number, old.size})
		return
	}
	old.end = s.open.off
	s.sealed = append(s.sealed, old)
}

func (s *Store) newFile(f disk.File, name string, number uint32, size int64) *dataFile {
	d := &dataFile{number: number, name: name, f: f, size: size, retire: s.recycle}
	d.refs.Store(1)
	s.files[number] = d
	return d
}

// logTail is where the log ends.
type logTail struct {
	segment uint64 // number of the last segment, 0 for none
	end     int64  // of its batches
	crc     uint32 // of its last batch
	lsn     uint64 // of the last change
}

// readyToWrite begins a new segment. A segment found at the start is never
// written again: it may hold the remains of a batch.
func (s *Store) readyToWrite(tail logTail) error {
	s.lastLSN, s.durable = tail.lsn, tail.lsn
	sp, err := s.makeSpare(s.segmentSize())
	if err != nil {
		return fmt.Errorf("preparing a segment: %w", err)
	}
	seg := s.newFile(sp.f, sp.name, sp.number, sp.size)
	seg.minLSN = tail.lsn + 1
	s.open = s.newBatch(seg, page, nil)
	return nil
}

func (s *Store) wake() {
	select {
	case s.work <- struct{}{}:
	default:
	}
}

// writeBatches writes one batch after the other until the store is closed. It
// alone writes to segments.
func (s *Store) writeBatches(tail logTail) {
	var spare []byte
	var current *dataFile // the segment that has its header
	for range s.work {
		for {
			b, closing := s.takeBatch(spare)
			if b == nil {
				if closing {
					return
				}
				break
			}
			if s.opts.breakAckBeforeSync {
				s.acknowledge(b, tail)
			}
			err := s.writeBatch(b, &current, &tail)
			spare = b.buf
			if cap(spare) > maxBatch {
				spare = nil
			}
			if err != nil {
				s.fail(err)
				s.abandon(b, err)
				return
			}
			if !s.opts.breakAckBeforeSync {
				s.acknowledge(b, tail)
			}
		}
	}
}

// takeBatch closes the open batch for more and opens the next one behind it.
func (s *Store) takeBatch(buf []byte) (b *batch, closing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b = s.open
	if b.count == 0 {
		return nil, errors.Is(s.err, store.ErrClosed)
	}
	end := b.off + pages(int64(len(b.buf)))
	b.seg.end = end
	s.open = s.newBatch(b.seg, end, buf)
	s.inFlight = b
	close(b.taken)
	return b, false
}

func (s *Store) writeBatch(b *batch, current **dataFile, tail *logTail) error {
	if b.seg != *current {
		if err := s.beginSegment(b, *current, tail); err != nil {
			return err
		}
		*current = b.seg
	}
	h := batchHead{segment: uint64(b.seg.number), firstLSN: b.firstLSN, payload: uint32(len(b.buf) - batchHeader),
		count: b.count, prev: tail.crc, frames: b.sum}
	h.seal(b.buf, s.seed)
	n := int(pages(int64(len(b.buf))))
	for len(b.buf) < n {
		b.buf = append(b.buf, zeros[:min(n-len(b.buf), len(zeros))]...)
	}
	if _, err := b.seg.f.WriteAt(b.buf, b.off); err != nil {
		return fmt.Errorf("writing to %s: %w", s.disk.Path(b.seg.name), err)
	}
	if s.opts.Sync == PowerSafe {
		if err := b.seg.f.Sync(); err != nil {
			return fmt.Errorf("making %s durable: %w", s.disk.Path(b.seg.name), err)
		}
	}
	*tail = logTail{segment: h.segment, end: b.off + int64(n), crc: h.crc, lsn: b.firstLSN + uint64(b.count) - 1}
	return nil
}

var zeros [page]byte

// beginSegment writes the header of a segment before its first batch. It must
// be durable first: a batch behind a torn header would look like damage.
func (s *Store) beginSegment(b *batch, old *dataFile, tail *logTail) error {
	if old != nil && s.opts.Sync != PowerSafe {
		if err := old.f.Sync(); err != nil {
			return fmt.Errorf("making %s durable: %w", s.disk.Path(old.name), err)
		}
	}
	h := segmentHead{number: uint64(b.seg.number), firstLSN: b.firstLSN,
		prev: tail.segment, prevEnd: uint64(tail.end), prevCRC: tail.crc, unordered: s.opts.Sync != PowerSafe}
	if _, err := b.seg.f.WriteAt(h.encode(s.seed), 0); err != nil {
		return fmt.Errorf("writing the header of %s: %w", s.disk.Path(b.seg.name), err)
	}
	if err := b.seg.f.Sync(); err != nil {
		return fmt.Errorf("making %s durable: %w", s.disk.Path(b.seg.name), err)
	}
	return nil
}

// acknowledge makes a durable batch visible and tells everybody who waits.
func (s *Store) acknowledge(b *batch, tail logTail) {
	s.mu.Lock()
	s.tail = tail
	s.durable = b.firstLSN + uint64(b.count) - 1
	s.inFlight = nil
	for _, key := range b.gone {
		if s.gone[key] <= s.durable {
			delete(s.gone, key)
		}
	}
	for _, id := range b.buried {
		if s.buried[id] <= s.durable {
			delete(s.buried, id)
		}
	}
	s.notify()
	if s.dirty >= s.indexDue() || len(s.deadBlobs) > 0 {
		s.needMaintenance()
	}
	s.mu.Unlock()
	close(b.done)
}

// abandon ends everything that was under way when the store stopped.
func (s *Store) abandon(b *batch, err error) {
	err = fmt.Errorf("%w: %w", store.ErrUnknown, err)
	if !s.opts.breakAckBeforeSync {
		b.err = err
		close(b.done)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight = nil
	s.open.err = err
	close(s.open.taken)
	close(s.open.done)
}

func (s *Store) notify() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// settled waits until everything up to lsn is durable. It is called with the
// lock not held.
func (s *Store) settled(ctx context.Context, lsn uint64) error {
	for {
		s.mu.RLock()
		if lsn <= s.durable {
			s.mu.RUnlock()
			return nil
		}
		b := s.open
		if s.inFlight != nil && lsn < s.open.firstLSN {
			b = s.inFlight
		}
		s.mu.RUnlock()
		select {
		case <-b.done:
			if b.err != nil {
				return store.ErrStopped
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pending is an append under way.
type pending struct {
	s   *Store
	b   *batch
	seq store.Seq // the tail afterwards
}

func (p *pending) Done() <-chan struct{} { return p.b.done }

func (p *pending) Wait(ctx context.Context) (store.Seq, error) {
	select {
	case <-p.b.done:
	default:
		select {
		case <-p.b.done:
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: %w", store.ErrUnknown, ctx.Err())
		}
	}
	if p.b.err != nil {
		return 0, p.b.err
	}
	return p.seq, nil
}

// A spare is a segment prepared for use: all its blocks are written, so that a
// later write changes neither its size nor its extents and one sync is one write.
type spare struct {
	f      disk.File
	name   string
	number uint32
	size   int64
}

// segmentSize is how large the next new segment should be: small at first.
func (s *Store) segmentSize() int64 {
	n := min(s.made.Add(1)-1, 16)
	return min(int64(firstSegmentSize)<<n, s.opts.SegmentSize)
}

func segmentName(number uint32) string { return fmt.Sprintf("log/%010d.seg", number) }
func packName(number uint32) string    { return fmt.Sprintf("pack/%010d.pack", number) }

// makeSpare makes a segment of size bytes.
func (s *Store) makeSpare(size int64) (spare, error) {
	number := s.fileNumber()
	sp := spare{name: segmentName(number), number: number, size: size}
	tmp := sp.name + ".tmp"
	f, err := s.disk.Open(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return spare{}, s.full(err)
	}
	err = fill(f, size)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		sp.f, err = s.publish("log", tmp, sp.name)
	}
	if err != nil {
		s.disk.Remove(tmp)
		return spare{}, s.full(err)
	}
	return sp, nil
}

// publish gives a finished, closed file its name, durably, and opens it. (Not
// every system renames open files.)
func (s *Store) publish(dir, from, to string) (disk.File, error) {
	if err := s.disk.Rename(from, to); err != nil {
		return nil, err
	}
	if err := s.disk.SyncDir(dir); err != nil {
		return nil, err
	}
	return s.disk.Open(to, os.O_RDWR)
}

// fill writes zeros and makes them durable.
func fill(f disk.File, size int64) error {
	zeros := make([]byte, min(size, 1<<20))
	for off := int64(0); off < size; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off); err != nil {
			return err
		}
		if off > 0 && off%syncEvery == 0 {
			if err := f.Sync(); err != nil {
				return err
			}
		}
	}
	return f.Sync()
}

// full marks errors that mean that there is no space.
func (s *Store) full(err error) error {
	if isFull(err) {
		return fmt.Errorf("%w on the disk of %s: %w", store.ErrFull, s.disk.Path("."), err)
	}
	return err
}

func (s *Store) fileNumber() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nextFile
	s.nextFile++
	return n
}

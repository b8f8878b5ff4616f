package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/causeway-mcp/causeway/internal/disk"
)

// A segment is a preallocated file of pages: a header page and then batches,
// each beginning on a page. Pages that hold acknowledged data are never written
// again before the whole segment is recycled, so a torn write cannot reach
// them, and the kernel never has to read a page before it overwrites it.
//
// The bytes after the last batch are zeros or what an earlier life of the file
// left there. Neither counts: a batch carries the number of its segment.
const page = 4096

const (
	segmentMagic = 0x31474553_59415743 // "CWAYSEG1"
	packMagic    = 0x314b4150_59415743 // "CWAYPAK1"
	batchMagic   = 0x48435442          // "BTCH"
	batchHeader  = 64
)

var (
	errNoBatch  = errors.New("no batch")
	errBatchCRC = errors.New("the checksum of a batch does not match")
)

// segmentHead is the first page of a segment. It says where the segment before
// it ends, which makes that end certain.
type segmentHead struct {
	number   uint64
	firstLSN uint64
	prev     uint64 // number of the segment before, 0 for none
	prevEnd  uint64 // where its batches end
	prevCRC  uint32 // of its last batch
	// unordered says that the segment was written without syncs: after a power
	// failure a batch may be there without the one before it.
	unordered bool
}

func (h *segmentHead) encode(seed uint32) []byte {
	b := make([]byte, page)
	binary.LittleEndian.PutUint64(b[0:], segmentMagic)
	binary.LittleEndian.PutUint64(b[16:], h.number)
	binary.LittleEndian.PutUint64(b[24:], h.firstLSN)
	binary.LittleEndian.PutUint64(b[32:], h.prev)
	binary.LittleEndian.PutUint64(b[40:], h.prevEnd)
	binary.LittleEndian.PutUint32(b[48:], h.prevCRC)
	if h.unordered {
		b[52] = 1
	}
	binary.LittleEndian.PutUint32(b[8:], crc32.Update(seed, castagnoli, b[16:]))
	return b
}

func parseSegmentHead(b []byte, seed uint32, number uint64) (h segmentHead, err error) {
	if len(b) < page || binary.LittleEndian.Uint64(b) != segmentMagic {
		return h, errors.New("it has no segment header")
	}
	b = b[:page]
	if crc32.Update(seed, castagnoli, b[16:]) != binary.LittleEndian.Uint32(b[8:]) {
		return h, errors.New("the checksum of the segment header does not match")
	}
	h.number = binary.LittleEndian.Uint64(b[16:])
	h.firstLSN = binary.LittleEndian.Uint64(b[24:])
	h.prev = binary.LittleEndian.Uint64(b[32:])
	h.prevEnd = binary.LittleEndian.Uint64(b[40:])
	h.prevCRC = binary.LittleEndian.Uint32(b[48:])
	h.unordered = b[52] != 0
	if h.number != number {
		return h, fmt.Errorf("it is the header of segment %d", h.number)
	}
	return h, nil
}

// batchHead is the beginning of a batch. It names its predecessor by checksum.
type batchHead struct {
	segment  uint64
	firstLSN uint64
	payload  uint32 // bytes of frames
	count    uint32 // of frames
	prev     uint32 // crc of the batch before
	frames   uint32 // checksum over the frames' checksums
	crc      uint32 // of this header
}

// seal encodes h into the first bytes of its batch and sets h.crc.
func (h *batchHead) seal(b []byte, seed uint32) {
	clear(b[:batchHeader])
	binary.LittleEndian.PutUint32(b[0:], batchMagic)
	binary.LittleEndian.PutUint64(b[8:], h.segment)
	binary.LittleEndian.PutUint64(b[16:], h.firstLSN)
	binary.LittleEndian.PutUint32(b[24:], h.payload)
	binary.LittleEndian.PutUint32(b[28:], h.count)
	binary.LittleEndian.PutUint32(b[32:], h.prev)
	binary.LittleEndian.PutUint32(b[36:], h.frames)
	h.crc = crc32.Update(seed, castagnoli, b[8:batchHeader])
	binary.LittleEndian.PutUint32(b[4:], h.crc)
}

func parseBatchHead(b []byte, seed uint32, segment uint64) (h batchHead, err error) {
	if len(b) < batchHeader || binary.LittleEndian.Uint32(b) != batchMagic {
		return h, errNoBatch
	}
	h.crc = binary.LittleEndian.Uint32(b[4:])
	if crc32.Update(seed, castagnoli, b[8:batchHeader]) != h.crc {
		return h, errBatchCRC
	}
	h.segment = binary.LittleEndian.Uint64(b[8:])
	h.firstLSN = binary.LittleEndian.Uint64(b[16:])
	h.payload = binary.LittleEndian.Uint32(b[24:])
	h.count = binary.LittleEndian.Uint32(b[28:])
	h.prev = binary.LittleEndian.Uint32(b[32:])
	h.frames = binary.LittleEndian.Uint32(b[36:])
	if h.segment != segment {
		return h, errNoBatch // from an earlier life of the file
	}
	return h, nil
}

// length is how much room the batch takes, to its last page's end.
func (h *batchHead) length() int64 { return pages(batchHeader + int64(h.payload)) }

// pages rounds n up to whole pages.
func pages(n int64) int64 { return (n + page - 1) &^ (page - 1) }

// placed is a frame and where it lies in its file.
type placed struct {
	frame
	off  int64
	size int
}

// parseBatch verifies the whole batch b, which lies at base, and appends its
// frames to frames.
func parseBatch(frames []placed, b []byte, base int64, seed uint32, h *batchHead) ([]placed, error) {
	end := batchHeader + int(h.payload)
	if end > len(b) {
		return frames, errShortFrame
	}
	off, sum, lsn := batchHeader, uint32(0), h.firstLSN
	for range h.count {
		f, size, err := parseFrame(b[off:end], seed)
		if err != nil {
			return frames, err
		}
		if f.lsn != lsn {
			return frames, fmt.Errorf("frame %d where %d belongs", f.lsn, lsn)
		}
		sum = crc32.Update(sum, castagnoli, b[off:off+4])
		frames = append(frames, placed{f, base + int64(off), size})
		off += size
		lsn++
	}
	if off != end || sum != h.frames {
		return frames, errBatchCRC
	}
	return frames, nil
}

// segmentReader reads the batches of one segment in order.
type segmentReader struct {
	f      disk.File
	size   int64
	seed   uint32
	number uint64
	off    int64  // of the next batch
	prev   uint32 // crc of the batch before it
	lsn    uint64 // of its first frame
	buf    []byte // file contents from bufOff
	bufOff int64
	batch  []placed
}

// window returns n bytes at off, or what there is of them.
func (r *segmentReader) window(off int64, n int64) ([]byte, error) {
	n = min(n, r.size-off)
	if n <= 0 {
		return nil, nil
	}
	if off < r.bufOff || off+n > r.bufOff+int64(len(r.buf)) {
		want := min(max(n, 1<<20), r.size-off)
		if int64(cap(r.buf)) < want {
			r.buf = make([]byte, want)
		}
		r.buf = r.buf[:want]
		r.bufOff = off
		if m, err := r.f.ReadAt(r.buf, off); err != nil && !(err == io.EOF && int64(m) == want) {
			r.buf = r.buf[:0]
			return nil, err
		}
	}
	return r.buf[off-r.bufOff:][:n], nil
}

// next checks the batch at r.off and returns its frames, valid until the next
// call. The error is errNoBatch, or why the batch is bad, or of reading, which is
// an *ioError.
func (r *segmentReader) next() ([]placed, error) {
	head, err := r.window(r.off, batchHeader)
	if err != nil {
		return nil, &ioError{err}
	}
	h, err := parseBatchHead(head, r.seed, r.number)
	if err != nil {
		return nil, err
	}
	switch {
	case h.firstLSN != r.lsn:
		return nil, fmt.Errorf("a batch begins with frame %d where %d belongs", h.firstLSN, r.lsn)
	case h.prev != r.prev:
		return nil, errors.New("a batch names another predecessor")
	case r.off+h.length() > r.size:
		return nil, errors.New("a batch goes beyond the segment")
	}
	b, err := r.window(r.off, h.length())
	if err != nil {
		return nil, &ioError{err}
	}
	if r.batch, err = parseBatch(r.batch[:0], b, r.off, r.seed, &h); err != nil {
		return nil, err
	}
	r.off += h.length()
	r.prev = h.crc
	r.lsn += uint64(h.count)
	return r.batch, nil
}

// successor looks for a batch of this segment behind the bad place r.off. Only
// one batch is ever under way, so a later one proves that the bad one was
// whole once.
func (r *segmentReader) successor() (int64, bool, error) {
	for off := r.off + page; off < r.size; off += page {
		b, err := r.window(off, batchHeader)
		if err != nil {
			return 0, false, err
		}
		if h, err := parseBatchHead(b, r.seed, r.number); err == nil && h.firstLSN >= r.lsn {
			return off, true, nil
		}
	}
	return 0, false, nil
}

// ioError is a failure to read, as opposed to bad data.
type ioError struct{ err error }

func (e *ioError) Error() string { return e.err.Error() }
func (e *ioError) Unwrap() error { return e.err }

package sqlwal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// The layout of a -wal file: https://www.sqlite.org/fileformat2.html#walformat
const (
	walHeader   = 32
	frameHeader = 24
	walMagic    = 0x377f0682 // the lowest bit says that checksums are big-endian
	walVersion  = 3007000
)

// A Page is one database page as a transaction left it.
type Page struct {
	No   uint32 // from 1
	Data []byte // its image, unless it was parsed and is a patch

	at    int64  // of its frame in the -wal
	was   []byte // the image that the journal had of it before, if the -wal still has it
	patch []byte // what was parsed instead of an image: how it differs from the image before
}

// A Change is what committed transactions did to a database file: the newest image of every page they
// wrote, and how long the file is afterwards. Where the journal has the page since the last snapshot,
// what differs from there is kept instead of an image; so changes count only in the journal's order, from
// a snapshot on. Applying all of them again, or over a file that is ahead of some, gives the same file.
type Change struct {
	PageSize int
	Size     uint32 // of the database after the change, in pages
	Pages    []Page // each page once, in no particular order
}

// Bytes is the size of the change's page images.
func (c *Change) Bytes() int { return len(c.Pages) * c.PageSize }

// tail reads the end of a -wal file: what was committed since it last looked.
//
// A frame counts only when its checksum continues the chain from the file's header. Salts are not enough:
// pages that SQLite spilled for a transaction and then rolled back stay in the file under the live salt.
type tail struct {
	file   *os.File
	off    int64 // of the next frame; 0 when a header comes next
	salt   [8]byte
	s1, s2 uint32
	size   int // page size
	order  binary.ByteOrder
	buf    []byte
	index  map[uint32]int // page number to its place in the change being built

	// frames is where the newest journalled image of a page lies in the -wal: what the next one is compared
	// with. It begins anew with the -wal, which a snapshot does too, so that the first image of a page after
	// a snapshot is whole.
	frames map[uint32]int64
	pages  uint32 // of the database
	before []byte // the images compared with
}

// errTorn: the -wal holds something that SQLite cannot have committed with us as its only user.
var errTorn = errors.New("sqlwal: the -wal file does not continue where it was left")

// restart expects a new header, as after a checkpoint.
func (t *tail) restart() {
	t.off = 0
	t.forget()
}

// forget has the next image of each page be whole, as after a snapshot.
func (t *tail) forget() { clear(t.frames) }

// read returns what was committed since the last read, or nil when nothing was. The pages point into a
// buffer that the next read overwrites.
func (t *tail) read() (*Change, error) {
	off, s1, s2, salt := t.off, t.s1, t.s2, t.salt
	if off == 0 {
		ok, err := t.readHeader()
		if err != nil || !ok {
			return nil, err
		}
		off, s1, s2 = walHeader, t.s1, t.s2
	}
	stride := frameHeader + t.size
	var (
		used     int // bytes of buf filled
		pos      int // bytes of buf walked
		commitAt int // bytes of buf up to the last commit frame
		dbSize   uint32
		c1, c2   uint32
	)
	for eof := false; ; {
		if pos+stride > used {
			if eof {
				break
			}
			// Two frames are what a small transaction needs: its one page, and a look at what is not there.
			want := max(2*stride, used*2)
			if cap(t.buf) < want {
				grown := make([]byte, want)
				copy(grown, t.buf[:used])
				t.buf = grown
			}
			n, err := t.file.ReadAt(t.buf[used:want], off+int64(used))
			used += n
			if errors.Is(err, io.EOF) {
				eof = true
			} else if err != nil {
				return nil, fmt.Errorf("read the tail of the -wal: %w", err)
			}
			continue
		}
		frame := t.buf[pos : pos+stride]
		var ok bool
		if s1, s2, ok = t.verify(frame, s1, s2); !ok {
			break
		}
		pos += stride
		if n := binary.BigEndian.Uint32(frame[4:]); n != 0 {
			commitAt, dbSize, c1, c2 = pos, n, s1, s2
		}
	}
	if commitAt == 0 {
		if t.off == 0 { // of pages spilled and given up: SQLite writes the header anew, with another salt
			t.salt = salt
		}
		return nil, nil
	}
	change := t.collect(t.buf[:commitAt], off, dbSize)
	t.compare(change)
	t.off, t.s1, t.s2 = off+int64(commitAt), c1, c2
	return change, nil
}

// readHeader starts the checksum chain; false when the file has no header yet, or still the old one.
func (t *tail) readHeader() (bool, error) {
	var h [walHeader]byte
	n, err := t.file.ReadAt(h[:], 0)
	if n < walHeader {
		if err == nil || errors.Is(err, io.EOF) {
			return false, nil
		}
		return false, fmt.Errorf("read the -wal header: %w", err)
	}
	if [8]byte(h[16:24]) == t.salt {
		return false, nil
	}
	magic := binary.BigEndian.Uint32(h[0:])
	if magic&^1 != walMagic || binary.BigEndian.Uint32(h[4:]) != walVersion {
		return false, fmt.Errorf("%w: unknown header %x", errTorn, h[:8])
	}
	t.order = binary.LittleEndian
	if magic&1 == 1 {
		t.order = binary.BigEndian
	}
	s1, s2 := checksum(t.order, h[:24], 0, 0)
	if s1 != binary.BigEndian.Uint32(h[24:]) || s2 != binary.BigEndian.Uint32(h[28:]) {
		return false, fmt.Errorf("%w: header checksum", errTorn)
	}
	t.size = int(binary.BigEndian.Uint32(h[8:]))
	if t.size < 512 || t.size > 65536 || t.size&(t.size-1) != 0 {
		return false, fmt.Errorf("%w: page size %d", errTorn, t.size)
	}
	t.salt, t.s1, t.s2 = [8]byte(h[16:24]), s1, s2
	return true, nil
}

func (t *tail) verify(frame []byte, s1, s2 uint32) (uint32, uint32, bool) {
	if [8]byte(frame[8:16]) != t.salt || binary.BigEndian.Uint32(frame) == 0 {
		return s1, s2, false
	}
	n1, n2 := checksum(t.order, frame[:8], s1, s2)
	n1, n2 = checksum(t.order, frame[frameHeader:], n1, n2)
	if n1 != binary.BigEndian.Uint32(frame[16:]) || n2 != binary.BigEndian.Uint32(frame[20:]) {
		return s1, s2, false
	}
	return n1, n2, true
}

// collect keeps the last image of each page, and none beyond the end of the database. The frames begin at
// off of the -wal.
func (t *tail) collect(frames []byte, off int64, dbSize uint32) *Change {
	stride := frameHeader + t.size
	c := &Change{PageSize: t.size, Size: dbSize, Pages: make([]Page, 0, len(frames)/stride)}
	if len(frames) > stride && t.index == nil {
		t.index = make(map[uint32]int)
	}
	clear(t.index)
	for ; len(frames) > 0; frames, off = frames[stride:], off+int64(stride) {
		no := binary.BigEndian.Uint32(frames)
		if no > dbSize {
			continue
		}
		p := Page{No: no, Data: frames[frameHeader:stride], at: off}
		if at, dup := t.index[no]; dup {
			c.Pages[at] = p
			continue
		}
		if t.index != nil {
			t.index[no] = len(c.Pages)
		}
		c.Pages = append(c.Pages, p)
	}
	return c
}

// Comparing is for transactions of a few pages; a large one is written whole.
const (
	mostCompared = 16
	mostFrames   = 4096 // about 160 KiB of index
)

// compare gives the pages of a change the images that they had before.
func (t *tail) compare(c *Change) {
	if t.frames == nil || len(t.frames)+len(c.Pages) > mostFrames {
		t.frames = make(map[uint32]int64)
	}
	if len(c.Pages) <= mostCompared {
		t.readBefore(c)
	}
	if len(c.Pages) <= mostFrames {
		for i := range c.Pages {
			t.frames[c.Pages[i].No] = c.Pages[i].at
		}
	}
	if c.Size < t.pages { // a page that is cut off and comes back has no image before
		for no := range t.frames {
			if no > c.Size {
				delete(t.frames, no)
			}
		}
	}
	t.pages = c.Size
}

func (t *tail) readBefore(c *Change) {
	stride := frameHeader + t.size
	if need := stride * len(c.Pages); cap(t.before) < need {
		t.before = make([]byte, need)
	}
	for i := range c.Pages {
		p := &c.Pages[i]
		at, ok := t.frames[p.No]
		if !ok {
			continue
		}
		frame := t.before[i*stride : (i+1)*stride]
		if _, err := t.file.ReadAt(frame, at); err != nil || binary.BigEndian.Uint32(frame) != p.No || [8]byte(frame[8:16]) != t.salt {
			continue // whole, then
		}
		p.was = frame[frameHeader:]
	}
}

// trim forgets a buffer that one large transaction has blown up.
func (t *tail) trim() {
	if cap(t.buf) > 1<<20 {
		t.buf = nil
	}
	if len(t.index) > 1024 {
		t.index = nil
	}
}

func checksum(order binary.ByteOrder, b []byte, s1, s2 uint32) (uint32, uint32) {
	if order == binary.LittleEndian {
		for ; len(b) >= 8; b = b[8:] {
			s1 += binary.LittleEndian.Uint32(b) + s2
			s2 += binary.LittleEndian.Uint32(b[4:]) + s1
		}
		return s1, s2
	}
	for ; len(b) >= 8; b = b[8:] {
		s1 += binary.BigEndian.Uint32(b) + s2
		s2 += binary.BigEndian.Uint32(b[4:]) + s1
	}
	return s1, s2
}

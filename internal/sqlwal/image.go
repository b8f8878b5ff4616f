package sqlwal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/s2"
)

// PageSize of every database made here, in bytes.
const PageSize = 4096

// ErrMalformed: bytes that are no encoded change.
var ErrMalformed = errors.New("sqlwal: malformed change")

// maxPages bounds what a decoder allocates for a change; 1 GiB of pages.
const maxPages = 1 << 18

// changeFormat is the first byte of an encoded change.
const changeFormat = 2

// AppendTo appends the change to b: as varints the format, page size, database size and number of pages;
// the page numbers, twice each, plus one where a patch and its length follow; then the whole images as one
// s2 block. scratch is reused for patches and uncompressed images and returned grown.
func (c *Change) AppendTo(b, scratch []byte) (encoded, grown []byte) {
	b = append(b, changeFormat)
	b = binary.AppendUvarint(b, uint64(c.PageSize))
	b = binary.AppendUvarint(b, uint64(c.Size))
	b = binary.AppendUvarint(b, uint64(len(c.Pages)))
	whole := 0 // pages
	for i := range c.Pages {
		p := &c.Pages[i]
		no, ok := uint64(p.No)<<1, p.was != nil
		if ok {
			scratch, ok = appendPatch(scratch[:0], p.was, p.Data)
		}
		if !ok {
			p.was = nil
			whole++
			b = binary.AppendUvarint(b, no)
			continue
		}
		b = binary.AppendUvarint(b, no|1)
		b = binary.AppendUvarint(b, uint64(len(scratch)))
		b = append(b, scratch...)
	}
	if whole == 0 {
		return b, scratch
	}
	scratch = scratch[:0]
	images := scratch
	for i := range c.Pages {
		switch p := &c.Pages[i]; {
		case p.was != nil:
		case whole == 1:
			images = p.Data
		default:
			scratch = append(scratch, p.Data...)
			images = scratch
		}
	}
	at := len(b)
	if need := at + s2.MaxEncodedLen(len(images)); cap(b) < need {
		grown := make([]byte, at, need)
		copy(grown, b)
		b = grown
	}
	block := s2.Encode(b[at:cap(b)], images)
	return b[:at+len(block)], scratch
}

// ParseChange reads what AppendTo wrote. Nothing of b is kept. It can be applied, not encoded again.
func ParseChange(b []byte) (*Change, error) {
	var head [4]uint64
	for i := range head {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, ErrMalformed
		}
		head[i], b = v, b[n:]
	}
	size, pages := head[1], head[3]
	switch {
	case head[0] != changeFormat:
		return nil, fmt.Errorf("%w: format %d, this version reads %d", ErrMalformed, head[0], changeFormat)
	case size < 512 || size > 65536 || size&(size-1) != 0 || head[2] > 1<<32-2 || pages > maxPages || pages > uint64(len(b)):
		return nil, fmt.Errorf("%w: page size %d, %d pages", ErrMalformed, size, pages)
	}
	c := &Change{PageSize: int(size), Size: uint32(head[2]), Pages: make([]Page, pages)}
	whole, b, err := c.parsePages(b)
	if err != nil {
		return nil, err
	}
	if len(whole) == 0 && len(b) == 0 {
		return c, nil
	}
	if n, err := s2.DecodedLen(b); err != nil || uint64(n) != size*uint64(len(whole)) {
		return nil, fmt.Errorf("%w: images", ErrMalformed)
	}
	images, err := s2.Decode(nil, b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	for i, p := range whole {
		p.Data = images[uint64(i)*size : uint64(i+1)*size]
	}
	return c, nil
}

// parsePages reads the pages' numbers and patches, and returns those whose images are what remains of b.
func (c *Change) parsePages(b []byte) (whole []*Page, rest []byte, err error) {
	for i := range c.Pages {
		p := &c.Pages[i]
		no, n := binary.Uvarint(b)
		if n <= 0 || no>>1 == 0 || no>>1 > uint64(c.Size) {
			return nil, nil, fmt.Errorf("%w: page number", ErrMalformed)
		}
		p.No, b = uint32(no>>1), b[n:]
		if no&1 == 0 {
			whole = append(whole, p)
			continue
		}
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, nil, fmt.Errorf("%w: patch of page %d", ErrMalformed, p.No)
		}
		p.patch = append([]byte{}, b[n:n+int(size)]...)
		if err := patchPage(nil, p.patch, c.PageSize); err != nil {
			return nil, nil, fmt.Errorf("%w: patch of page %d", err, p.No)
		}
		b = b[n+int(size):]
	}
	return whole, b, nil
}

// Apply writes the change into a database file that no SQLite has open.
func (c *Change) Apply(base *os.File) error {
	for _, p := range c.Pages {
		if p.No > c.Size {
			continue
		}
		at := int64(p.No-1) * int64(c.PageSize)
		image := p.Data
		if image == nil {
			image = make([]byte, c.PageSize)
			if _, err := base.ReadAt(image, at); err != nil {
				return fmt.Errorf("%w: page %d is changed before it is written: %w", ErrMalformed, p.No, err)
			}
			if err := patchPage(image, p.patch, c.PageSize); err != nil {
				return err
			}
		}
		if _, err := base.WriteAt(image, at); err != nil {
			return fmt.Errorf("write page %d: %w", p.No, err)
		}
	}
	if err := base.Truncate(int64(c.Size) * int64(c.PageSize)); err != nil {
		return fmt.Errorf("set the database's length: %w", err)
	}
	return nil
}

// empty is a database of one page without tables, already in WAL mode. Letting SQLite make it would
// write it through a rollback journal, about a millisecond of file creation for each new object.
func empty() []byte {
	p := make([]byte, PageSize)
	copy(p, "SQLite format 3\x00")
	binary.BigEndian.PutUint16(p[16:], PageSize)
	p[18], p[19] = 2, 2              // written and read in WAL mode
	p[21], p[22], p[23] = 64, 32, 32 // fixed payload fractions
	binary.BigEndian.PutUint32(p[24:], 1)
	binary.BigEndian.PutUint32(p[28:], 1) // pages
	binary.BigEndian.PutUint32(p[92:], 1)
	binary.BigEndian.PutUint32(p[96:], 3054001)
	p[100] = 13 // an empty leaf of the schema table
	binary.BigEndian.PutUint16(p[105:], PageSize)
	return p
}

// Verify checks an image that came from outside: that it is a database of our page size in WAL mode, and
// sound in every page.
func Verify(image []byte) error {
	if len(image) < PageSize || len(image)%PageSize != 0 || string(image[:16]) != "SQLite format 3\x00" {
		return fmt.Errorf("%w: not a SQLite database", ErrMalformed)
	}
	if size := binary.BigEndian.Uint16(image[16:]); size != PageSize || image[18] != 2 || image[19] != 2 {
		return fmt.Errorf("%w: page size %d or journal mode", ErrMalformed, size)
	}
	dir, err := os.MkdirTemp("", "causeway-verify-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "image.db")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		return err
	}
	c, err := openConn(context.Background(), path, 0)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := errors.Join(c.check(context.Background()), c.close()); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

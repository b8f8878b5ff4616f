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

// AppendTo appends the change to b: page size, database size and page numbers as varints, then the page
// images as one s2 block. scratch is reused for the uncompressed images and returned grown.
func (c *Change) AppendTo(b, scratch []byte) (encoded, grown []byte) {
	b = binary.AppendUvarint(b, uint64(c.PageSize))
	b = binary.AppendUvarint(b, uint64(c.Size))
	b = binary.AppendUvarint(b, uint64(len(c.Pages)))
	scratch = scratch[:0]
	for _, p := range c.Pages {
		b = binary.AppendUvarint(b, uint64(p.No))
		scratch = append(scratch, p.Data...)
	}
	images := scratch
	if len(c.Pages) == 1 {
		images = c.Pages[0].Data
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

// ParseChange reads what AppendTo wrote. Nothing of b is kept.
func ParseChange(b []byte) (*Change, error) {
	var head [3]uint64
	for i := range head {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, ErrMalformed
		}
		head[i], b = v, b[n:]
	}
	size, pages := head[0], head[2]
	if size < 512 || size > 65536 || size&(size-1) != 0 || head[1] > 1<<32-2 || pages > maxPages || pages > uint64(len(b)) {
		return nil, fmt.Errorf("%w: page size %d, %d pages", ErrMalformed, size, pages)
	}
	c := &Change{PageSize: int(size), Size: uint32(head[1]), Pages: make([]Page, pages)}
	for i := range c.Pages {
		no, n := binary.Uvarint(b)
		if n <= 0 || no == 0 || no > head[1] {
			return nil, fmt.Errorf("%w: page number", ErrMalformed)
		}
		c.Pages[i].No, b = uint32(no), b[n:]
	}
	if n, err := s2.DecodedLen(b); err != nil || uint64(n) != size*pages {
		return nil, fmt.Errorf("%w: images", ErrMalformed)
	}
	images, err := s2.Decode(nil, b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	for i := range c.Pages {
		c.Pages[i].Data = images[uint64(i)*size : uint64(i+1)*size]
	}
	return c, nil
}

// Apply writes the change into a database file that no SQLite has open.
func (c *Change) Apply(base *os.File) error {
	for _, p := range c.Pages {
		if p.No > c.Size {
			continue
		}
		if _, err := base.WriteAt(p.Data, int64(p.No-1)*int64(c.PageSize)); err != nil {
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

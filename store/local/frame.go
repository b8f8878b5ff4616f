package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/causeway-mcp/causeway/store"
)

// A frame is one change as it lies in segments and packs:
//
//	crc u32 | size u32 | lsn u64 | type u8 | len(kind) u8 | len(key) u16 |
//	blobs u8 | flags u8 | 0 u16 | expires i64 | kind | key | blobs | body
//
// All numbers are little-endian. The checksum covers everything after it and
// starts from the directory's seed, so that neither a frame from another
// directory nor bytes a client chose can pass for one.
const frameHeader = 32

// maxFrame bounds a frame for whoever reads one.
const maxFrame = frameHeader + store.MaxKind + store.MaxKey + store.MaxBlobs*64 + store.MaxEntry

type frameType uint8

const (
	framePut    frameType = 1 // a record
	frameDelete frameType = 2 // of a record
	frameEntry  frameType = 8 // of a journal; the entry's kind is added
)

const frameTombstone = frameEntry + frameType(store.EntryTombstone)

// flagFirst marks the first entry of a journal: nothing before it counts, as
// with a snapshot.
const flagFirst = 1

type frame struct {
	lsn     uint64
	typ     frameType
	flags   uint8
	kind    string // of the object, "" for records
	key     string // of the record, or id of the object
	expires int64
	blobs   []store.Blob
	body    []byte
}

// isEntry reports that the frame is part of a journal.
func (f *frame) isEntry() bool { return f.typ >= frameEntry }

func (f *frame) entryKind() store.EntryKind { return store.EntryKind(f.typ - frameEntry) }

// resets reports that nothing before this entry counts.
func (f *frame) resets() bool {
	return f.isEntry() && (f.entryKind() == store.EntrySnapshot || f.flags&flagFirst != 0)
}

func (f *frame) object() store.ObjectID { return store.ObjectID{Kind: f.kind, ID: f.key} }

// overhead is the size of the frame without its body.
func (f *frame) overhead() int {
	n := frameHeader + len(f.kind) + len(f.key)
	for _, b := range f.blobs {
		n += blobRefSize(b)
	}
	return n
}

func blobRefSize(b store.Blob) int { return 1 + len(b.ID) + 8 }

func (f *frame) size() int { return f.overhead() + len(f.body) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendFrame encodes f, whose lsn is set.
func appendFrame(b []byte, f *frame, seed uint32) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(f.size()))
	b = binary.LittleEndian.AppendUint64(b, f.lsn)
	b = append(b, byte(f.typ), byte(len(f.kind)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(f.key)))
	b = append(b, byte(len(f.blobs)), f.flags, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(f.expires))
	b = append(b, f.kind...)
	b = append(b, f.key...)
	for _, blob := range f.blobs {
		b = append(b, byte(len(blob.ID)))
		b = append(b, blob.ID...)
		b = binary.LittleEndian.AppendUint64(b, uint64(blob.Size))
	}
	b = append(b, f.body...)
	sealFrame(b[start:], seed)
	return b
}

// sealFrame sets the checksum of the frame b.
func sealFrame(b []byte, seed uint32) {
	binary.LittleEndian.PutUint32(b, crc32.Update(seed, castagnoli, b[4:]))
}

var (
	errShortFrame = errors.New("a frame is cut short")
	errFrameCRC   = errors.New("the checksum of a frame does not match")
)

// frameSize returns how long the frame at the start of b says it is.
func frameSize(b []byte) (int, error) {
	if len(b) < frameHeader {
		return 0, errShortFrame
	}
	n := int(binary.LittleEndian.Uint32(b[4:]))
	if n < frameHeader || n > maxFrame {
		return 0, fmt.Errorf("a frame of %d bytes", n)
	}
	return n, nil
}

// parseFrame decodes the frame at the start of b. Its body points into b.
func parseFrame(b []byte, seed uint32) (f frame, size int, err error) {
	size, err = frameSize(b)
	if err != nil {
		return frame{}, 0, err
	}
	if size > len(b) {
		return frame{}, 0, errShortFrame
	}
	b = b[:size]
	if crc32.Update(seed, castagnoli, b[4:]) != binary.LittleEndian.Uint32(b) {
		return frame{}, 0, errFrameCRC
	}
	f.lsn = binary.LittleEndian.Uint64(b[8:])
	f.typ, f.flags = frameType(b[16]), b[21]
	f.expires = int64(binary.LittleEndian.Uint64(b[24:]))
	kind, key, blobs := int(b[17]), int(binary.LittleEndian.Uint16(b[18:])), int(b[20])
	rest := b[frameHeader:]
	if kind+key > len(rest) {
		return frame{}, 0, errShortFrame
	}
	f.kind, f.key, rest = string(rest[:kind]), string(rest[kind:kind+key]), rest[kind+key:]
	for range blobs {
		if len(rest) < 1 || len(rest) < 1+int(rest[0])+8 {
			return frame{}, 0, errShortFrame
		}
		n := 1 + int(rest[0])
		f.blobs = append(f.blobs, store.Blob{ID: string(rest[1:n]), Size: int64(binary.LittleEndian.Uint64(rest[n:]))})
		rest = rest[n+8:]
	}
	f.body = rest
	return f, size, f.check()
}

// check refuses frames that this version does not write.
func (f *frame) check() error {
	switch {
	case f.typ == framePut || f.typ == frameDelete:
		if f.kind == "" && f.key != "" && len(f.blobs) == 0 {
			return nil
		}
	case f.isEntry() && f.typ <= frameTombstone:
		if f.kind != "" && f.key != "" {
			return nil
		}
	}
	return fmt.Errorf("a frame of unknown type %d", f.typ)
}

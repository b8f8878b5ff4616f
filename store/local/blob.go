package local

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/causeway-mcp/causeway/internal/disk"
	"github.com/causeway-mcp/causeway/store"
)

// A blob is a file of chunks, each with its checksum before it, so that a
// reader learns of damage before it uses a byte of it.
const blobChunk = 64 << 10

func blobName(id string) string { return "blob/" + id }

// PutBlob implements [store.Journal].
func (s *Store) PutBlob(ctx context.Context, id store.ObjectID, body io.Reader) (store.Blob, error) {
	if err := errors.Join(id.Check(), ctx.Err()); err != nil {
		return store.Blob{}, err
	}
	s.mu.RLock()
	err := s.err
	s.mu.RUnlock()
	if err != nil {
		return store.Blob{}, err
	}
	var random [16]byte
	rand.Read(random[:])
	name := hex.EncodeToString(random[:])
	size, err := s.writeBlob(ctx, name, body)
	if err != nil {
		s.disk.Remove(blobName(name))
		return store.Blob{}, fmt.Errorf("storing a blob of a %s: %w", id.Kind, s.full(err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return store.Blob{}, s.err
	}
	s.keepBlob(name, &blobState{object: id, size: size, put: time.Now()})
	return store.Blob{ID: name, Size: size}, nil
}

func (s *Store) writeBlob(ctx context.Context, name string, body io.Reader) (size int64, err error) {
	f, err := s.disk.Open(blobName(name), os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return 0, err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	size, err = s.copyBlob(ctx, f, body)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = s.disk.SyncDir("blob")
	}
	return size, err
}

func (s *Store) copyBlob(ctx context.Context, f disk.File, body io.Reader) (size int64, err error) {
	b := make([]byte, 4+blobChunk)
	for off := int64(0); ; off += int64(len(b)) {
		n, rerr := io.ReadFull(body, b[4:])
		if rerr != nil && rerr != io.EOF && rerr != io.ErrUnexpectedEOF {
			return 0, rerr
		}
		if size += int64(n); size > store.MaxBlob {
			return 0, fmt.Errorf("%w: over %d bytes", store.ErrTooLarge, store.MaxBlob)
		}
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if n > 0 {
			binary.LittleEndian.PutUint32(b, s.chunkSum(off, b[4:4+n]))
			if _, err := f.WriteAt(b[:4+n], off); err != nil {
				return 0, err
			}
		}
		if rerr != nil {
			return size, nil
		}
	}
}

// chunkSum covers the chunk and its place.
func (s *Store) chunkSum(off int64, chunk []byte) uint32 {
	var at [8]byte
	binary.LittleEndian.PutUint64(at[:], uint64(off))
	return crc32.Update(crc32.Update(s.seed, castagnoli, at[:]), castagnoli, chunk)
}

// OpenBlob implements [store.Journal].
func (s *Store) OpenBlob(ctx context.Context, id store.ObjectID, blob string) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.readable(); err != nil {
		return nil, err
	}
	b := s.blobs[blob]
	if b == nil || b.object != id {
		return nil, store.ErrNotFound
	}
	f, err := s.disk.Open(blobName(blob), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is missing; restore the directory from a backup", store.ErrDamaged, s.disk.Path(blobName(blob)))
	}
	if err != nil {
		return nil, fmt.Errorf("opening a blob of a %s: %w", id.Kind, err)
	}
	return &blobReader{s: s, f: f, name: blobName(blob), left: b.size}, nil
}

type blobReader struct {
	s     *Store
	f     disk.File
	name  string
	off   int64
	left  int64
	buf   []byte
	chunk []byte // verified and not read yet
}

func (r *blobReader) Close() error { return r.f.Close() }

func (r *blobReader) Read(p []byte) (int, error) {
	if len(r.chunk) == 0 {
		if r.left == 0 {
			return 0, io.EOF
		}
		if err := r.nextChunk(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.chunk)
	r.chunk = r.chunk[n:]
	return n, nil
}

func (r *blobReader) nextChunk() error {
	if r.buf == nil {
		r.buf = make([]byte, 4+min(r.left, blobChunk))
	}
	b := r.buf[:4+min(r.left, blobChunk)]
	n, err := r.f.ReadAt(b, r.off)
	if n < len(b) && err != io.EOF {
		return fmt.Errorf("reading %s: %w", r.s.disk.Path(r.name), err)
	}
	if n < len(b) || r.s.chunkSum(r.off, b[4:]) != binary.LittleEndian.Uint32(b) {
		return r.s.damageAt(r.name, r.off, errors.New("the checksum of a blob does not match"))
	}
	r.chunk = b[4:]
	r.off += int64(len(b))
	r.left -= int64(len(r.chunk))
	return nil
}

// keepBlob remembers a blob. The lock is held.
func (s *Store) keepBlob(name string, b *blobState) {
	s.blobs[name] = b
	s.objectBlobs[b.object] = append(s.objectBlobs[b.object], name)
}

// dropBlob forgets a blob and has its file removed once that is durable. The
// lock is held.
func (s *Store) dropBlob(name string) {
	b := s.blobs[name]
	delete(s.blobs, name)
	names := slices.DeleteFunc(slices.Clone(s.objectBlobs[b.object]), func(n string) bool { return n == name })
	if len(names) == 0 {
		delete(s.objectBlobs, b.object)
	} else {
		s.objectBlobs[b.object] = names
	}
	s.deadBlobs = append(s.deadBlobs, deadBlob{name, s.lastLSN})
}

type deadBlob struct {
	name string
	lsn  uint64 // the file may go when this is durable
}

// withBlobs adds the size of the blobs that entries of the object name.
func (s *Store) withBlobs(info store.ObjectInfo) store.ObjectInfo {
	for _, name := range s.objectBlobs[info.Object] {
		if b := s.blobs[name]; b.lsn != 0 {
			info.Size += b.size - int64(blobRefSize(store.Blob{ID: name}))
		}
	}
	return info
}

// removeBlobs removes the files of blobs that nothing names any more.
func (s *Store) removeBlobs() {
	s.mu.Lock()
	for name, b := range s.blobs {
		if b.lsn == 0 && time.Since(b.put) > orphanBlobsKeptFor {
			s.dropBlob(name)
		}
	}
	var names []string
	for len(s.deadBlobs) > 0 && s.deadBlobs[0].lsn <= s.durable {
		names = append(names, s.deadBlobs[0].name)
		s.deadBlobs = s.deadBlobs[1:]
	}
	s.mu.Unlock()
	for _, name := range names {
		if err := s.disk.Remove(blobName(name)); err != nil {
			s.log.Warn("removing a blob that nothing names any more; the next start tries again", "file", s.disk.Path(blobName(name)), "err", err)
		}
	}
}

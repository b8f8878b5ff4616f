package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/causeway-mcp/causeway/internal/disk"
	"github.com/causeway-mcp/causeway/store"
)

// Verify reads everything that is stored and compares it with its checksums:
// the log, the packs and the blobs. It returns all damage it finds, as
// [store.ErrDamaged] with the files and offsets. Writes may go on meanwhile.
func (s *Store) Verify(ctx context.Context) error {
	s.mu.RLock()
	if err := s.readable(); err != nil {
		s.mu.RUnlock()
		return err
	}
	var files []*dataFile
	for _, d := range s.files {
		if d != s.open.seg && uint64(d.number) != s.tail.segment { // those that no longer change
			files = append(files, d.hold())
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(files, func(a, b *dataFile) int { return int(int64(a.number) - int64(b.number)) })
	var found []error
	for _, d := range files {
		if err := s.each(d, func(*frame, place) error { return ctx.Err() }); err != nil {
			found = append(found, err)
		}
		d.release()
	}
	found = append(found, s.verifyReadable(ctx)...)
	return errors.Join(found...)
}

// verifyReadable reads every record, entry and blob the way a caller does.
func (s *Store) verifyReadable(ctx context.Context) (found []error) {
	for _, err := range s.List(ctx, "") {
		if err != nil {
			found = append(found, err)
		}
	}
	for info, err := range s.Objects(ctx, "") {
		if err != nil {
			return append(found, err)
		}
		for e, err := range s.Load(ctx, info.Object) {
			if err != nil {
				found = append(found, err)
				break
			}
			for _, b := range e.Blobs {
				found = append(found, s.verifyBlob(ctx, info.Object, b)...)
			}
		}
	}
	return found
}

func (s *Store) verifyBlob(ctx context.Context, id store.ObjectID, b store.Blob) []error {
	r, err := s.OpenBlob(ctx, id, b.ID)
	if errors.Is(err, store.ErrNotFound) {
		return nil // replaced since the entry was read
	}
	if err == nil {
		_, err = io.Copy(io.Discard, r)
		r.Close()
	}
	if err != nil {
		return []error{fmt.Errorf("a blob of a %s: %w", id.Kind, err)}
	}
	return nil
}

// Compact gives up what nothing needs any more: it merges the log up to now and
// all packs into one. It takes space for a second copy of what is needed, and
// time in proportion to it. Reads and writes go on meanwhile.
func (s *Store) Compact(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case s.compactNow <- done:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.failed:
		return store.ErrStopped
	case <-s.tending.Done():
		return store.ErrClosed
	}
	return <-done
}

// compactAll is Compact, in the goroutine that moves things.
func (s *Store) compactAll() error {
	s.mu.RLock()
	var inputs []*dataFile
	var size int64
	for _, d := range s.sealed {
		if len(inputs) == maxInputs || d.damaged || s.tail.segment == 0 || uint64(d.number) == s.tail.segment {
			break
		}
		inputs, size = append(inputs, d), size+d.live
	}
	for _, d := range s.files {
		if d.pack && !d.damaged && len(inputs) < maxInputs && size+d.live+d.dead < maxMerged {
			inputs, size = append(inputs, d), size+d.live+d.dead
		}
	}
	s.mu.RUnlock()
	if len(inputs) == 0 {
		return s.writeIndex()
	}
	return s.compact(inputs)
}

// MarkRestored notes in the data directory dir, which no process may have open,
// that it was restored from a backup: its incarnation grows by one, which it
// returns. Who keeps something that must not be revived compares incarnations.
func MarkRestored(dir string) (incarnation int, err error) {
	s := newStore((&Options{}).withDefaults())
	s.disk = disk.OS(dir)
	defer s.stop()
	if err := s.takeDirectory(); err != nil {
		return 0, fmt.Errorf("marking the data directory %s as restored: %w", dir, err)
	}
	defer s.unlock()
	s.format.Incarnation++
	if err := disk.WriteFile(s.disk, ".", formatFile, s.format.encode()); err != nil {
		return 0, err
	}
	return s.format.Incarnation, nil
}

package object

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/s2"

	"github.com/causeway-mcp/causeway/internal/effect"
	"github.com/causeway-mcp/causeway/internal/sqlwal"
	"github.com/causeway-mcp/causeway/store"
)

func newBytesReader(b []byte) io.Reader { return bytes.NewReader(b) }

func (l *live) opened(delta int) {
	if n := l.host.openDBs.Add(int64(delta)); delta > 0 && int(n) > l.host.opts.MaxOpen {
		l.host.makeRoom()
	}
}

// closeDB needs the turn and everything flushed. What does not exist keeps no file: a reader has had it made.
func (l *live) closeDB(ctx context.Context) error {
	l.wal = 0
	if !l.exists && l.db.Open() {
		return errors.Join(l.db.Discard(), sqlwal.Remove(l.host.path(l.id)))
	}
	return l.db.Close(context.WithoutCancel(ctx))
}

// closeDatabase closes the SQLite file of an object that is not in use but stays in memory.
func (l *live) closeDatabase(ctx context.Context) bool {
	if !l.tryEnter() {
		return false
	}
	defer l.leave()
	if l.isDead() || !l.db.Open() || l.db.InTx() {
		return false
	}
	if err := l.Flush(ctx); err != nil {
		return false
	}
	if err := l.closeDB(ctx); err != nil {
		l.fail(err)
		return false
	}
	return true
}

// owner is what the database sees of the object.
type owner struct{ *live }

var _ sqlwal.Owner = owner{}

func (o owner) Lock(ctx context.Context) error {
	err := o.enter(ctx)
	if err == nil {
		if err = o.migrateNew(ctx); err != nil {
			o.leave()
		}
	}
	if call := effect.CallOf(ctx); err == nil && call.Gated() {
		call.Touch(o.live) // whatever is read, and however the transaction ends
	}
	return err
}

func (o owner) Unlock() { o.leave() }

func (o owner) Join(ctx context.Context) (bool, error) {
	u := unitOf(ctx)
	if u == nil {
		return false, nil
	}
	if u.live != o.live {
		return false, fmt.Errorf("%w: SQL of another object", ErrInUnit)
	}
	return true, u.alive()
}

// Commit journals a statement or transaction outside a unit.
func (o owner) Commit(ctx context.Context, c *sqlwal.Change) (func(context.Context) error, error) {
	effect.MarkWrite(ctx)
	p, err := o.commitChange(ctx, c)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return o.await(ctx, p) }, nil
}

func (l *live) commitChange(ctx context.Context, c *sqlwal.Change) (store.Pending, error) {
	defer l.trim()
	l.body = append(l.body[:0], entryFormat)
	blobs, err := l.addChange(ctx, &l.body, c, nil)
	if err == nil {
		var p store.Pending
		if p, err = l.append(ctx, store.EntryUpdate, l.body, blobs, nil); err == nil {
			l.afterAppend()
			return p, nil
		}
	}
	// SQLite has committed what the journal will never have.
	l.fail(fmt.Errorf("journal a commit: %w", err))
	return nil, err
}

// addChange puts a change into the entry, or into a blob if it is large.
func (l *live) addChange(ctx context.Context, body *fields, c *sqlwal.Change, blobs []store.Blob) ([]store.Blob, error) {
	var encoded []byte
	encoded, l.scratch = c.AppendTo(l.encoded[:0], l.scratch)
	l.hasSQL = true
	l.wal += int64(c.Bytes())
	if len(encoded) <= store.MaxEntry/2 {
		body.add(fieldChange, encoded)
		l.encoded = encoded
		return blobs, nil
	}
	b, err := l.host.engine.PutBlob(context.WithoutCancel(ctx), l.id, bytes.NewReader(encoded))
	if err != nil {
		return nil, fmt.Errorf("store a large change: %w", err)
	}
	body.add(fieldLarge, []byte{byte(len(blobs))})
	return append(blobs, b), nil
}

// trim gives back what one large entry has grown.
func (l *live) trim() {
	const keep = 64 << 10
	if cap(l.scratch) > keep {
		l.scratch = nil
	}
	if cap(l.encoded) > keep {
		l.encoded = nil
	}
	if cap(l.body) > 2*keep {
		l.body = nil
	}
}

func (o owner) Seen() func(context.Context) error {
	o.mu.Lock()
	last := o.last
	o.mu.Unlock()
	if last == nil {
		return nil
	}
	return func(ctx context.Context) error { return o.await(ctx, last) }
}

func (o owner) Failed(err error) {
	o.host.log.Error("object: local database discarded, it will be rebuilt", "kind", o.id.Kind, "err", err)
}

// Restore brings the file to what the journal says.
func (o owner) Restore(ctx context.Context, path string) error {
	if err := o.Flush(ctx); err != nil {
		return err
	}
	fresh, err := o.restoreBase(ctx, path)
	if err != nil {
		return err
	}
	if err := sqlwal.Rebuild(path, fresh, o.changes(ctx)); err != nil {
		if errors.Is(err, sqlwal.ErrNoBase) {
			err = fmt.Errorf("%w; Options.Dir must be kept together with the store's own directory", err)
		}
		return err
	}
	return nil
}

// restoreBase looks at what the journal builds upon: nothing (fresh), the file at path, or an image.
func (l *live) restoreBase(ctx context.Context, path string) (fresh bool, err error) {
	fresh = true
	for e, err := range l.host.engine.Load(ctx, l.id) {
		if err != nil {
			return false, err
		}
		if e.Kind != store.EntrySnapshot {
			continue
		}
		body, err := l.wholeBody(ctx, e)
		if err != nil {
			return false, err
		}
		err = each(body, func(tag byte, content []byte) error {
			switch tag {
			case fieldBase:
				fresh = false
			case fieldImage:
				fresh = false
				if len(content) != 1 || int(content[0]) >= len(e.Blobs) {
					return ErrDamaged
				}
				return l.writeImage(ctx, path, e.Blobs[content[0]])
			}
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	return fresh, nil
}

func (l *live) writeImage(ctx context.Context, path string, b store.Blob) error {
	packed, err := l.blob(ctx, b)
	if err != nil {
		return err
	}
	image, err := s2.Decode(nil, packed)
	if err != nil {
		return fmt.Errorf("%w: database image: %w", ErrDamaged, err)
	}
	return writeFile(path, image)
}

func writeFile(path string, image []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, image, 0o600)
}

// changes yields the SQL changes of the journal in order.
func (l *live) changes(ctx context.Context) iter.Seq2[*sqlwal.Change, error] {
	return func(yield func(*sqlwal.Change, error) bool) {
		for e, err := range l.host.engine.Load(ctx, l.id) {
			if err != nil {
				yield(nil, err)
				return
			}
			if e.Kind == store.EntryClaim {
				continue
			}
			c, err := l.changeOf(ctx, e)
			if err != nil {
				yield(nil, fmt.Errorf("entry %d: %w", e.Seq, err))
				return
			}
			if c != nil && !yield(c, nil) {
				return
			}
		}
	}
}

func (l *live) changeOf(ctx context.Context, e store.Entry) (c *sqlwal.Change, err error) {
	body, err := l.wholeBody(ctx, e)
	if err != nil {
		return nil, err
	}
	err = each(body, func(tag byte, content []byte) error {
		switch tag {
		case fieldChange:
			c, err = changeIn(content)
			return err
		case fieldLarge:
			if len(content) != 1 || int(content[0]) >= len(e.Blobs) {
				return ErrDamaged
			}
			b, err := l.blob(ctx, e.Blobs[content[0]])
			if err != nil {
				return err
			}
			c, err = changeIn(b)
			return err
		}
		return nil
	})
	return c, err
}

// snapshotDatabase makes the database part of a snapshot: the file itself where it lives beside the journal
// for good, its image elsewhere. Needs the turn and everything acknowledged.
func (l *live) snapshotDatabase(ctx context.Context, body *fields) ([]store.Blob, error) {
	if l.host.engine.Exclusive() {
		l.wal = 0
		if err := l.db.Sync(ctx); err != nil {
			return nil, err
		}
		if l.host.synced != nil {
			l.host.synced(l.host.path(l.id))
		}
		body.add(fieldBase, nil)
		return nil, nil
	}
	image, err := l.db.Image(ctx)
	if err != nil {
		return nil, err
	}
	b, err := l.host.engine.PutBlob(ctx, l.id, bytes.NewReader(s2.Encode(nil, image)))
	if err != nil {
		return nil, err
	}
	body.add(fieldImage, []byte{0})
	return []store.Blob{b}, nil
}

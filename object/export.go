package object

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/s2"

	"github.com/causeway-mcp/causeway/internal/effect"
	"github.com/causeway-mcp/causeway/internal/sqlwal"
	"github.com/causeway-mcp/causeway/store"
)

// An export is a line, then three parts, each a big-endian length of eight bytes and its bytes: the fields of
// a snapshot, the database as an s2 block (empty for none), and the SHA-256 of all before it.
const exportMagic = "causeway-object-export 1\n"

// Export writes everything of the object to w: state, database, alarms, queue and remembered results, as of
// one moment. ErrNotFound if the object does not exist. The object stands still meanwhile.
func (o *Object[S]) Export(ctx context.Context, w io.Writer) error {
	l, err := o.enter(ctx)
	if err != nil {
		return err
	}
	return l.export(ctx, w)
}

// export writes the object and ends the turn, before it writes.
func (l *live) export(ctx context.Context, w io.Writer) error {
	body, image, err := l.dump(ctx)
	if err != nil {
		return err
	}
	sum := sha256.New()
	out := io.MultiWriter(w, sum)
	if _, err := io.WriteString(out, exportMagic); err != nil {
		return err
	}
	for _, part := range [][]byte{body, image} {
		if err := writePart(out, part); err != nil {
			return err
		}
	}
	return writePart(w, sum.Sum(nil))
}

// dump takes the object's contents and ends the turn.
func (l *live) dump(ctx context.Context) (body, image []byte, err error) {
	defer l.leave()
	if !l.exists {
		return nil, nil, fmt.Errorf("%w: object %s", ErrNotFound, l.id)
	}
	if err := l.Flush(ctx); err != nil {
		return nil, nil, err
	}
	whole, err := l.memory.whole()
	if err != nil || !l.hasSQL {
		return whole, nil, err
	}
	if image, err = l.db.Image(ctx); err != nil {
		return nil, nil, fmt.Errorf("export the database: %w", err)
	}
	return whole, s2.Encode(nil, image), nil
}

func writePart(w io.Writer, part []byte) error {
	if _, err := w.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part)))); err != nil {
		return err
	}
	_, err := w.Write(part)
	return err
}

// Import makes the object from an export. ErrExists if there is one already; Delete it first. What is read is
// checked wholly (checksum, state, integrity of the database) before anything is written; it may come from
// strangers, and is at most Options.MaxDatabase and some. An alarm that is due runs at once.
func (o *Object[S]) Import(ctx context.Context, r io.Reader) error {
	limit := o.kind.host.opts.MaxDatabase
	body, packed, err := readExport(r, limit)
	if err != nil {
		return err
	}
	var m memory
	if _, err := m.apply(body); err != nil {
		return err
	}
	if err := m.checkLimits(o.kind.host.opts.MaxState); err != nil {
		return err
	}
	if m.state != nil && m.migrated >= len(o.kind.spec.Migrations) {
		if _, err := o.kind.codec.decode(m.state); err != nil {
			return fmt.Errorf("%w: the state does not fit kind %q: %w", ErrDamaged, o.id.Kind, err)
		}
	}
	image, err := unpackImage(packed, limit)
	if err != nil {
		return err
	}
	l, err := o.enter(ctx)
	if err != nil {
		return err
	}
	effect.MarkWrite(ctx)
	return l.fill(ctx, &m, image)
}

// maxDump is how large the part beside the database may be: twice as many alarms, jobs and results as there can be
// of the largest sort.
const maxDump = 2 * (maxTasks*maxPayload + maxOnce*maxOnceResult)

func readExport(r io.Reader, limit int64) (body, image []byte, err error) {
	sum := sha256.New()
	in := bufio.NewReader(r)
	magic := make([]byte, len(exportMagic))
	if _, err := io.ReadFull(in, magic); err != nil || string(magic) != exportMagic {
		return nil, nil, fmt.Errorf("%w: this is no export of an object, or one of another version", ErrDamaged)
	}
	sum.Write(magic)
	parts := make([][]byte, 3)
	want := sum.Sum(nil)
	for i, most := range []int64{maxDump, limit + limit/64 + 64<<10, sha256.Size} {
		want = sum.Sum(nil)
		if parts[i], err = readPart(io.TeeReader(in, sum), most); err != nil {
			return nil, nil, err
		}
	}
	if !bytes.Equal(want, parts[2]) {
		return nil, nil, fmt.Errorf("%w: the checksum does not match", ErrDamaged)
	}
	return parts[0], parts[1], nil
}

func readPart(r io.Reader, most int64) ([]byte, error) {
	var size [8]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, fmt.Errorf("%w: cut off", ErrDamaged)
	}
	n := binary.BigEndian.Uint64(size[:])
	if n > uint64(most) {
		return nil, &TooLargeError{What: "part of an export", Size: int(min(n, 1<<62)), Limit: int(most)}
	}
	// The length is a stranger's word: memory is taken as the bytes arrive.
	var b bytes.Buffer
	if m, err := io.CopyN(&b, r, int64(n)); err != nil || m != int64(n) {
		return nil, fmt.Errorf("%w: cut off", ErrDamaged)
	}
	return b.Bytes(), nil
}

func unpackImage(packed []byte, limit int64) ([]byte, error) {
	if len(packed) == 0 {
		return nil, nil
	}
	n, err := s2.DecodedLen(packed)
	if err != nil {
		return nil, fmt.Errorf("%w: database: %w", ErrDamaged, err)
	}
	if int64(n) > limit {
		return nil, &TooLargeError{What: "database", Size: n, Limit: int(limit)}
	}
	image, err := s2.Decode(nil, packed)
	if err != nil {
		return nil, fmt.Errorf("%w: database: %w", ErrDamaged, err)
	}
	if err := sqlwal.Verify(image); err != nil {
		return nil, fmt.Errorf("%w: database: %w", ErrDamaged, err)
	}
	return image, nil
}

func (m *memory) checkLimits(maxState int) error {
	if len(m.state) > maxState {
		return &TooLargeError{What: "state", Size: len(m.state), Limit: maxState}
	}
	if len(m.tasks) > maxTasks {
		return &TooLargeError{What: "number of alarms and jobs", Size: len(m.tasks), Limit: maxTasks}
	}
	if len(m.once) > maxOnce {
		return &TooLargeError{What: "number of remembered results", Size: len(m.once), Limit: maxOnce}
	}
	for id, t := range m.tasks {
		if _, err := newTask(id, t.Name, t.Payload); err != nil {
			return err
		}
		if err := errors.Join(checkTime(t.At), t.checkAttempts()); err != nil {
			return err
		}
		if t.repeats() {
			if err := (&task{}).setWhen(When{every: t.Every, cron: t.Cron}, t.At); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkAttempts refuses counts that no run leaves behind.
func (t *task) checkAttempts() error {
	if t.Attempt < 0 || t.Retries < 0 || t.Attempt > t.Retries || t.Dead && !t.Job {
		return fmt.Errorf("%w: attempt %d of %d of an alarm or job", ErrDamaged, t.Attempt, t.Retries)
	}
	return nil
}

// fill makes an object that does not exist, and ends the turn.
func (l *live) fill(ctx context.Context, m *memory, image []byte) error {
	defer l.leave()
	if l.exists {
		return fmt.Errorf("%w: %s", ErrExists, l.id)
	}
	if err := l.checkMigrated(m.migrated); err != nil {
		return err
	}
	body, err := m.whole()
	if err != nil {
		return err
	}
	var blobs []store.Blob
	if image != nil {
		if err := l.db.Discard(); err != nil {
			return err
		}
		path := l.host.path(l.id)
		if err := sqlwal.Remove(path); err != nil {
			return err
		}
		if err := writeFile(path, image); err != nil {
			return fmt.Errorf("write the database: %w", err)
		}
		if blobs, err = l.importedDatabase(ctx, &body, path, image); err != nil {
			return errors.Join(err, sqlwal.Remove(path))
		}
	}
	if body, blobs, err = l.fit(ctx, body, blobs); err != nil {
		return err
	}
	l.memory, l.hasSQL = *m, image != nil
	p, err := l.append(ctx, store.EntrySnapshot, body, blobs, l.withWake(nil))
	if err == nil {
		err = l.await(context.WithoutCancel(ctx), p)
	}
	if err != nil {
		l.fail(err)
		return err
	}
	if err := l.migrateNew(ctx); err != nil {
		return err
	}
	l.current.Store(&seen{json: l.memory.state})
	l.kick()
	return nil
}

func (l *live) importedDatabase(ctx context.Context, body *fields, path string, image []byte) ([]store.Blob, error) {
	if l.host.engine.Exclusive() {
		body.add(fieldBase, nil)
		return nil, sqlwal.SyncFile(path)
	}
	b, err := l.host.engine.PutBlob(ctx, l.id, bytes.NewReader(s2.Encode(nil, image)))
	if err != nil {
		return nil, err
	}
	body.add(fieldImage, []byte{0})
	return []store.Blob{b}, nil
}

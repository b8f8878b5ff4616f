package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-mcp/causeway/internal/effect"
	"github.com/causeway-mcp/causeway/internal/sqlwal"
	"github.com/causeway-mcp/causeway/store"
)

// live is an object in memory. Fields without a comment of their own belong to whoever has the turn.
type live struct {
	host *Host
	id   store.ObjectID
	def  *definition

	ready   chan struct{} // closed when wake has ended
	loadErr error         // set before ready is closed

	turn chan struct{} // one element while somebody has it
	gone chan struct{} // closed when this copy is out of use and its files are closed
	used atomic.Int64  // unix nanoseconds of the last use
	pins atomic.Int64  // KeepAlive and running tasks

	memory  memory
	exists  bool // the journal has an entry
	hasSQL  bool // the journal has SQL in it
	tail    store.Seq
	entries int   // in the journal since the last snapshot
	bytes   int64 // of those
	wakeAt  time.Time
	jitter  int // entries more before a snapshot, so that objects that began together do not flush together

	db      *sqlwal.DB // opens the file when it is used
	order   int64      // of tasks made in the same nanosecond
	wal     int64      // bytes committed since the last checkpoint
	scratch []byte     // page images being encoded
	encoded []byte     // the change they became
	body    fields     // entry being encoded

	// current is the state that readers without the turn see.
	current atomic.Pointer[seen]

	mu         sync.Mutex
	last       store.Pending // the newest append whose outcome is not known yet
	dead       error         // why this copy must not be used any more
	dying      bool
	compacting bool
	pinned     map[<-chan struct{}]struct{} // contexts that keep it awake
	watched    watchers
	lanes      [2]bool // a runner of that lane is at work
	again      [2]bool // and shall look once more before it ends
}

// seen is one version of the state.
type seen struct {
	json  []byte // nil: the initial state
	value any    // of flat kinds only
}

func newLive(h *Host, id store.ObjectID, def *definition) *live {
	l := &live{host: h, id: id, def: def,
		ready: make(chan struct{}), turn: make(chan struct{}, 1), gone: make(chan struct{})}
	l.db = sqlwal.New(owner{l}, h.path(id), sqlwal.Options{
		MaxCommit: h.opts.MaxCommit, MaxPages: uint32(min(h.opts.MaxDatabase/sqlwal.PageSize, 1<<31)), Opened: l.opened})
	l.jitter = rand.IntN(h.limits.databaseEntries)
	l.touch()
	return l
}

func (l *live) touch() { l.used.Store(time.Now().UnixNano()) }

// wake reads the object from its journal. It runs once, before anybody has the turn.
func (l *live) wake(ctx context.Context) {
	defer close(l.ready)
	if err := safely(func() error { return l.load(ctx) }); err != nil { // a state may decode itself
		l.loadErr = err
		l.retire()
	}
}

func (l *live) load(ctx context.Context) error {
	const tries = 8 // each means that somebody else is writing
	var err error
	for range tries {
		if err = l.loadOnce(ctx); !errors.Is(err, store.ErrConflict) {
			break
		}
	}
	if err != nil {
		return err
	}
	// What does not exist needs no claim: only one first entry can be written.
	if l.tail != 0 && !l.host.engine.Exclusive() {
		if err := l.claim(ctx); err != nil {
			return err
		}
	}
	if err := l.migrateStored(ctx); err != nil {
		return err
	}
	l.current.Store(&seen{json: l.memory.state})
	if l.def != nil && l.def.check != nil && l.memory.state != nil {
		if err := l.def.check(l.memory.state); err != nil {
			return fmt.Errorf("%w: the stored state does not fit kind %q: %w", ErrDamaged, l.id.Kind, err)
		}
	}
	l.wakeAt = l.memory.next()
	l.kick()
	return nil
}

func (l *live) loadOnce(ctx context.Context) error {
	l.memory, l.tail, l.entries, l.bytes, l.exists, l.hasSQL = memory{}, 0, 0, 0, false, false
	for e, err := range l.host.engine.Load(ctx, l.id) {
		if err != nil {
			return err
		}
		l.tail = e.Seq
		if e.Kind == store.EntryClaim {
			continue
		}
		if e.Kind == store.EntrySnapshot {
			l.memory, l.entries, l.bytes, l.hasSQL = memory{}, 0, 0, false
		}
		body, err := l.wholeBody(ctx, e)
		if err != nil {
			return fmt.Errorf("entry %d: %w", e.Seq, err)
		}
		database, err := l.memory.apply(body)
		if err != nil {
			return fmt.Errorf("entry %d: %w", e.Seq, err)
		}
		l.exists, l.hasSQL = true, l.hasSQL || database
		l.entries++
		l.bytes += int64(len(e.Body))
	}
	return nil
}

// wholeBody returns the fields of an entry, which large ones keep in a blob.
func (l *live) wholeBody(ctx context.Context, e store.Entry) ([]byte, error) {
	var at = -1
	if len(e.Body) > 2 && e.Body[1] == fieldWholeBody {
		err := each(e.Body, func(_ byte, content []byte) error {
			if len(content) != 1 || int(content[0]) >= len(e.Blobs) {
				return ErrDamaged
			}
			at = int(content[0])
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if at < 0 {
		return e.Body, nil
	}
	return l.blob(ctx, e.Blobs[at])
}

func (l *live) blob(ctx context.Context, b store.Blob) ([]byte, error) {
	r, err := l.host.engine.OpenBlob(ctx, l.id, b.ID)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// claim makes this host the owner: every other one that believes it is finds another tail.
func (l *live) claim(ctx context.Context) error {
	seq, err := l.host.engine.Append(ctx, store.Write{Object: l.id, Prev: l.tail,
		Entry: store.Entry{Kind: store.EntryClaim}}).Wait(ctx)
	if err != nil {
		return fmt.Errorf("claim ownership: %w", err)
	}
	l.tail = seq
	return nil
}

// enter waits for the turn.
func (l *live) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case l.turn <- struct{}{}:
	default:
		timeout := time.NewTimer(l.host.opts.BusyTimeout)
		defer timeout.Stop()
		select {
		case l.turn <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout.C:
			return fmt.Errorf("%w: %s", ErrBusy, l.id)
		}
	}
	l.touch()
	l.settle()
	if l.isDead() {
		l.leave()
		return ErrGone
	}
	return nil
}

func (l *live) leave() { <-l.turn }

// settle learns the outcome of the last append if it is known. Needs the turn.
func (l *live) settle() {
	l.mu.Lock()
	last := l.last
	l.mu.Unlock()
	if last == nil {
		return
	}
	select {
	case <-last.Done():
		seq, err := last.Wait(context.Background())
		if err != nil {
			l.fail(err)
			return
		}
		l.mu.Lock()
		if l.last == last {
			l.last = nil
			l.tail = seq
		}
		l.mu.Unlock()
	default:
	}
}

func (l *live) isDead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead != nil || l.dying
}

// Flush returns when everything this copy has accepted is durable. It is effect.Durable.
func (l *live) Flush(ctx context.Context) error {
	l.mu.Lock()
	last, dead := l.last, l.dead
	l.mu.Unlock()
	if dead != nil {
		return dead
	}
	if last == nil {
		return nil
	}
	return l.await(ctx, last)
}

// await waits for one append, and throws this copy away if it fails.
func (l *live) await(ctx context.Context, p store.Pending) error {
	select {
	case <-p.Done():
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", store.ErrUnknown, ctx.Err())
	}
	_, err := p.Wait(context.WithoutCancel(ctx))
	if err != nil {
		err = fmt.Errorf("write %s: %w", l.id, err)
		l.fail(err)
	}
	return err
}

// outcome is how a write answers its caller: when it is durable, or at once where a gate holds the answer.
func (l *live) outcome(ctx context.Context, p store.Pending) error {
	if call := effect.CallOf(ctx); call.Gated() {
		call.Touch(l)
		return nil
	}
	return l.await(ctx, p)
}

// failed is how a unit answers that failed with err: what the error tells of the object must be durable, too.
func (l *live) failed(ctx context.Context, err error) error {
	lost := l.tell(ctx)
	if lost == nil || ctx.Err() != nil || errors.Is(lost, err) || errors.Is(err, lost) {
		return err
	}
	return fmt.Errorf("a unit failed on what is lost now: %w", lost)
}

// tell makes sure that what a reader saw is durable before it is told.
func (l *live) tell(ctx context.Context) error {
	if call := effect.CallOf(ctx); call.Gated() {
		call.Touch(l)
		return nil
	}
	return l.Flush(ctx)
}

// fail takes this copy out of use: memory may be ahead of the journal. Whoever uses the object next reads
// it anew, once the files of this copy are closed.
func (l *live) fail(cause error) {
	l.mu.Lock()
	first := l.dead == nil
	if first {
		l.dead = cause
	}
	l.mu.Unlock()
	if !first {
		return
	}
	l.host.log.Warn("object: live copy dropped, it will be read again from the journal",
		"kind", l.id.Kind, "cause", cause)
	go func() {
		l.turn <- struct{}{} // the unit in progress ends first; it can no longer commit
		if err := errors.Join(l.db.Shut(), l.db.Discard()); err != nil {
			l.host.log.Error("object: close a dropped copy", "kind", l.id.Kind, "err", err)
		}
		l.retire()
		l.leave()
	}()
}

// retire lets the object be woken anew. Needs the turn, and closed files.
func (l *live) retire() {
	l.mu.Lock()
	was := l.dying
	l.dying = true
	l.mu.Unlock()
	if was {
		return
	}
	l.host.remove(l)
	close(l.gone)
}

// append journals body as one entry, after everything before it. Needs the turn. The memory must be as the
// entry leaves it.
func (l *live) append(ctx context.Context, kind store.EntryKind, body []byte, blobs []store.Blob, records []store.RecordWrite) (store.Pending, error) {
	l.mu.Lock()
	dead, last := l.dead, l.last
	l.mu.Unlock()
	if dead != nil {
		return nil, dead
	}
	w := store.Write{Object: l.id, Prev: l.tail, Entry: store.Entry{Kind: kind, Body: body, Blobs: blobs}, Records: records}
	if last != nil {
		w.After = last
	}
	p := l.host.engine.Append(context.WithoutCancel(ctx), w)
	l.mu.Lock()
	l.last = p
	l.mu.Unlock()
	if kind == store.EntrySnapshot {
		l.entries, l.bytes = 0, 0
	}
	l.exists = true
	l.entries++
	l.bytes += int64(len(body))
	for _, b := range blobs {
		l.bytes += b.Size
	}
	return p, nil
}

// sleep takes an idle object out of memory. False when it is in use.
func (l *live) sleep(ctx context.Context) bool {
	if l.pins.Load() > 0 || !l.tryEnter() {
		return false
	}
	defer l.leave()
	if l.pins.Load() > 0 || l.isDead() {
		return false
	}
	return l.putToSleep(ctx) == nil
}

// tryEnter takes the turn if nobody has it, of an object that is awake.
func (l *live) tryEnter() bool {
	select {
	case <-l.ready:
	default:
		return false
	}
	select {
	case l.turn <- struct{}{}:
		return true
	default:
		return false
	}
}

func (l *live) putToSleep(ctx context.Context) error {
	if err := l.Flush(ctx); err != nil {
		return err
	}
	l.settle()
	if l.entries > l.host.limits.sleepEntries && l.exists {
		if err := l.snapshot(ctx); err != nil {
			l.host.log.Warn("object: compact before sleep", "kind", l.id.Kind, "err", err)
		}
		if err := l.Flush(ctx); err != nil {
			return err
		}
	}
	if err := errors.Join(l.db.Shut(), l.closeDB(ctx)); err != nil {
		l.fail(err)
		return err
	}
	l.retire()
	return nil
}

// shut is sleep at the host's end: it waits for its turn.
func (l *live) shut(ctx context.Context) error {
	select {
	case <-l.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	if l.loadErr != nil {
		return nil
	}
	select {
	case l.turn <- struct{}{}:
	case <-l.gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close %s: %w", l.id, ctx.Err())
	}
	defer l.leave()
	if l.isDead() {
		return nil
	}
	return l.putToSleep(ctx)
}

// limits say what makes a journal long enough to be rewritten as a snapshot.
type limits struct {
	sleepEntries    int   // before sleep, so that waking is quick
	snapshotEntries int   // without SQL a snapshot costs no more than an update
	snapshotBytes   int64 //
	databaseEntries int   // with SQL it costs a flush of the database file
	databaseBytes   int64
	checkpointBytes int64 // of the -wal
}

var usualLimits = limits{
	sleepEntries:    8,
	snapshotEntries: 64,
	snapshotBytes:   1 << 20,
	databaseEntries: 2048,
	databaseBytes:   8 << 20,
	checkpointBytes: 4 << 20,
}

// overdue tells whether the journal should be rewritten. Needs the turn.
func (l *live) overdue() bool {
	m := &l.host.limits
	if l.hasSQL {
		return l.entries > m.databaseEntries+l.jitter || l.bytes > m.databaseBytes
	}
	return l.entries > m.snapshotEntries || l.bytes > m.snapshotBytes
}

// afterAppend has the journal rewritten, or the -wal checkpointed, in the background when it is time.
// Needs the turn.
func (l *live) afterAppend() {
	if !l.overdue() && l.wal <= l.host.limits.checkpointBytes {
		return
	}
	l.mu.Lock()
	start := !l.compacting && l.dead == nil
	l.compacting = l.compacting || start
	l.mu.Unlock()
	if start && !l.host.background(l.compact) {
		l.mu.Lock()
		l.compacting = false
		l.mu.Unlock()
	}
}

func (l *live) compact() {
	defer func() {
		l.mu.Lock()
		l.compacting = false
		l.mu.Unlock()
	}()
	select {
	case l.host.flushes <- struct{}{}: // one flush of a file at a time leaves the disk to the log
		defer func() { <-l.host.flushes }()
	case <-l.host.ctx.Done():
		return
	}
	patience, cancel := context.WithTimeout(l.host.ctx, time.Second) // others wait to flush too; the next append asks again
	defer cancel()
	if err := l.enter(patience); err != nil {
		return
	}
	defer l.leave()
	var err error
	switch {
	case l.overdue():
		err = l.snapshot(l.host.ctx)
	case l.wal > l.host.limits.checkpointBytes:
		if err = l.Flush(l.host.ctx); err == nil {
			err = l.db.Checkpoint(l.host.ctx)
			l.wal = 0
		}
	}
	if err != nil && l.host.ctx.Err() == nil {
		l.host.log.Warn("object: compact", "kind", l.id.Kind, "err", err)
	}
}

// snapshot replaces the journal by one entry. Needs the turn.
func (l *live) snapshot(ctx context.Context) error {
	body, err := l.memory.whole()
	if err != nil {
		return err
	}
	var blobs []store.Blob
	if l.hasSQL {
		if err := l.Flush(ctx); err != nil { // the base never holds what is not acknowledged
			return err
		}
		if blobs, err = l.snapshotDatabase(ctx, &body); err != nil {
			return fmt.Errorf("snapshot the database: %w", err)
		}
	}
	if body, blobs, err = l.fit(ctx, body, blobs); err != nil {
		return err
	}
	_, err = l.append(ctx, store.EntrySnapshot, body, blobs, nil)
	return err
}

// fit moves fields that are too large for an entry into a blob.
func (l *live) fit(ctx context.Context, body fields, blobs []store.Blob) (fields, []store.Blob, error) {
	if len(body) <= store.MaxEntry-(64<<10) { // room for the records that go with it
		return body, blobs, nil
	}
	if err := l.host.ctx.Err(); err != nil && ctx.Err() != nil {
		return nil, nil, err
	}
	b, err := l.host.engine.PutBlob(ctx, l.id, newBytesReader(body))
	if err != nil {
		return nil, nil, fmt.Errorf("store a large entry: %w", err)
	}
	f := newFields()
	f.add(fieldWholeBody, []byte{byte(len(blobs))})
	return f, append(blobs, b), nil
}

// pin keeps the copy in memory until the function it returns is called.
func (l *live) pin() (release func()) {
	l.pins.Add(1)
	var once sync.Once
	return func() {
		once.Do(func() {
			l.touch()
			l.pins.Add(-1)
		})
	}
}

// pinFor keeps the copy in memory until ctx ends, if it can. However often it is asked, once for each ctx.
func (l *live) pinFor(ctx context.Context) {
	done := ctx.Done()
	if done == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, pinned := l.pinned[done]; pinned {
		return
	}
	if l.pinned == nil {
		l.pinned = make(map[<-chan struct{}]struct{})
	}
	l.pinned[done] = struct{}{}
	release := l.pin()
	context.AfterFunc(ctx, func() {
		release()
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.pinned, done)
	})
}

// erase deletes the object and ends the turn.
func (l *live) erase(ctx context.Context) error {
	defer l.leave()
	if !l.exists {
		return l.closeDB(ctx)
	}
	p, err := l.append(ctx, store.EntryTombstone, nil, nil, []store.RecordWrite{
		{Key: wakeKey(l.id), Delete: true, Prev: store.AnyRevision}})
	if err != nil {
		return err
	}
	if err := l.await(context.WithoutCancel(ctx), p); err != nil {
		return err
	}
	// From here on the object is gone; a file that stays behind is only garbage, made anew by the next one.
	err = errors.Join(l.db.Shut(), l.db.Discard(), sqlwal.Remove(l.host.path(l.id)))
	l.retire()
	if err != nil {
		return fmt.Errorf("object deleted, but not its database file: %w", err)
	}
	return nil
}

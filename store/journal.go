package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"time"
)

// Errors of journals, possibly wrapped; test with [errors.Is].
var (
	// ErrFenced: the journal's tail is not where the writer thought it was:
	// someone else has written since. It is final. The writer no longer owns the
	// object, wrote nothing, and must drop its copy.
	ErrFenced = errors.New("store: fenced: the journal has another tail")
	// ErrFull: there is no space for the write. Nothing was written, and what was
	// acknowledged before stays readable.
	ErrFull = errors.New("store: no space")
	// ErrStopped: a write to the disk failed earlier and the engine accepts no
	// more. What was acknowledged is kept; open the store again.
	ErrStopped = errors.New("store: stopped after a failed write")
	// ErrDamaged: stored bytes do not match their checksum.
	ErrDamaged = errors.New("store: damaged data")
	// ErrInvalid: the request itself is wrong (an empty name, an unknown kind of
	// entry). Nothing was written.
	ErrInvalid = errors.New("store: invalid request")
)

// Limits that callers may rely on: every engine accepts at least these.
const (
	// MaxEntry is the largest body of one journal entry, in bytes. What is larger
	// goes into a blob first, and the entry names it.
	MaxEntry = 1 << 20
	// MaxBlob is the largest blob, in bytes.
	MaxBlob = 1 << 30
	// MaxBlobs is how many blobs one entry may name.
	MaxBlobs = 16
	// MaxRecords is how many record changes one [Write] may carry, and MaxWrite
	// how many bytes in all: the body and every key and value.
	MaxRecords = 64
	MaxWrite   = 4 << 20
	// MaxKind and MaxID are the longest parts of an [ObjectID], in bytes.
	MaxKind = 64
	MaxID   = 256
)

// AnyRevision, as [RecordWrite.Prev], writes whatever the record's revision is.
// It is for records that belong to one object, which the fence of the object's
// journal guards.
const AnyRevision Revision = math.MaxUint64

// An ObjectID addresses one durable object. Neither part may be empty. As the id
// may be that of a session, which nobody else must learn, errors of engines name
// the kind only, and no keys of records.
type ObjectID struct {
	Kind string // what it is, such as "counter"; at most MaxKind bytes
	ID   string // which one of them; at most MaxID bytes
}

// String returns "kind/id", for people and logs.
func (o ObjectID) String() string { return o.Kind + "/" + o.ID }

// A Seq is a position in an object's journal. It grows from entry to entry, not
// by one, and is never used twice, even if the object is deleted and made anew.
// 0 means that there is no journal.
type Seq uint64

// An EntryKind says what an entry does to the entries before it.
type EntryKind uint8

const (
	// EntryUpdate adds to what the journal holds.
	EntryUpdate EntryKind = iota
	// EntryClaim takes ownership: its Seq is the owner's epoch, and every other
	// writer is fenced by it. Body says who claims. Engines that are [Journal]
	// Exclusive need none.
	EntryClaim
	// EntrySnapshot replaces all entries before it.
	EntrySnapshot
	// EntryTombstone deletes the journal and its blobs. It has no body. The tail
	// is 0 again afterwards.
	EntryTombstone
)

// String returns the name of the kind.
func (k EntryKind) String() string {
	switch k {
	case EntryUpdate:
		return "update"
	case EntryClaim:
		return "claim"
	case EntrySnapshot:
		return "snapshot"
	case EntryTombstone:
		return "tombstone"
	}
	return fmt.Sprintf("EntryKind(%d)", uint8(k))
}

// A Blob names a large body stored beside the journal. It belongs to the object
// it was put for and lives as long as an entry of that object's journal names it.
type Blob struct {
	ID   string // made by the engine, unique in the store, safe as a file name
	Size int64  // in bytes
}

// An Entry is one step of an object's journal. What Body means is the writer's
// business.
type Entry struct {
	Seq   Seq // set by the engine
	Kind  EntryKind
	Body  []byte
	Blobs []Blob
}

// A RecordWrite changes one record together with a journal entry.
type RecordWrite struct {
	Key    string
	Value  []byte
	Delete bool // delete the record instead; it need not be there if Prev is AnyRevision
	// Prev is the revision the record must be at, as in [Records.Put]; 0 for "must
	// not exist", AnyRevision for whatever it is.
	Prev Revision
	TTL  time.Duration // as in PutOptions
}

// A Write is one atomic step of an object: an entry and the records that change
// with it, such as the object's alarm or what it sends to a session. All of it
// takes effect or nothing does.
type Write struct {
	Object ObjectID
	// Prev is the tail the writer believes in. 0: the object must not exist.
	Prev Seq
	// After, if not nil, is used instead of Prev: the tail is what that earlier
	// append to the same object leaves, even if it is not durable yet. If that
	// append fails, so does this one, with the same error.
	After Pending
	Entry Entry
	// Records has at most one change per key.
	Records []RecordWrite
}

// Pending is an append under way. It is safe for concurrent use.
type Pending interface {
	// Done is closed when the outcome is known.
	Done() <-chan struct{}
	// Wait returns the entry's position once the whole write is durable. If ctx
	// ends first the error is ErrUnknown and the ctx's; Wait may be called again.
	Wait(ctx context.Context) (Seq, error)
}

// ObjectInfo describes one journal.
type ObjectInfo struct {
	Object  ObjectID
	Tail    Seq   // position of the newest entry
	Entries int   // since and including the newest snapshot
	Size    int64 // bytes of those entries' bodies and blobs
}

// Journal keeps one journal per durable object. Implementations are safe for
// concurrent use.
//
// The tail is the fence: who appends with the right tail owns the object, and
// whoever else believed in that tail is out. Errors of an append mean:
//
//   - [ErrFenced]: the writer has lost the object for good; nothing was written.
//   - [ErrUnknown]: the write may or may not be there. The writer must stop,
//     forget its copy and Load before it answers anyone.
//   - any other, such as [ErrConflict] of one of the records, [ErrTooLarge] or
//     [ErrFull]: nothing was written and the tail is as it was.
type Journal interface {
	// Append starts w and returns at once, or after a wait for room. The order of
	// appends to one object is the order of the calls. The engine has copied what
	// it needs when Append returns. If ctx ends before w was accepted, nothing was
	// written.
	Append(ctx context.Context, w Write) Pending

	// Load yields the newest snapshot, if any, and the entries after it in order,
	// including every one acknowledged before the call. The last one's Seq is the
	// tail; nothing at all means that the object does not exist and the tail is 0.
	// Load may wait for appends under way. If a newer snapshot or a tombstone
	// arrives during the sequence, it ends with [ErrConflict]: load again. After a
	// non-nil error the sequence ends.
	Load(ctx context.Context, id ObjectID) iter.Seq2[Entry, error]

	// Stat describes the journal of one object, [ErrNotFound] if there is none.
	Stat(ctx context.Context, id ObjectID) (ObjectInfo, error)

	// Objects yields every object of the kind, "" for all kinds, in no particular
	// order. An object that is there throughout is yielded exactly once.
	Objects(ctx context.Context, kind string) iter.Seq2[ObjectInfo, error]

	// PutBlob stores body durably for an entry of the object that is yet to be
	// appended. A blob that no entry names may be deleted an hour later.
	PutBlob(ctx context.Context, id ObjectID, body io.Reader) (Blob, error)

	// OpenBlob opens a blob that an entry of the object names. Reading it reports
	// [ErrDamaged] instead of wrong bytes. [ErrNotFound] if it is not there, for
	// instance because a newer snapshot has replaced the entry.
	OpenBlob(ctx context.Context, id ObjectID, blob string) (io.ReadCloser, error)

	// Exclusive reports that nobody but this engine can write to these journals
	// while it is open, so that an owner needs no claim and a loaded copy is fresh.
	Exclusive() bool
}

// An Engine is one place where Causeway keeps things.
type Engine interface {
	Records
	Journal
	// Close waits for writes under way, makes them durable and releases the
	// engine. Everything afterwards reports [ErrClosed], and watches end with it.
	Close() error
}

// Check reports what is wrong with the id: ErrInvalid or ErrTooLarge.
func (o ObjectID) Check() error {
	switch {
	case o.Kind == "" || o.ID == "":
		return fmt.Errorf("%w: an object needs a kind and an id", ErrInvalid)
	case len(o.Kind) > MaxKind:
		return fmt.Errorf("%w: object kind of %d bytes, limit %d", ErrTooLarge, len(o.Kind), MaxKind)
	case len(o.ID) > MaxID:
		return fmt.Errorf("%w: object id of %d bytes, limit %d", ErrTooLarge, len(o.ID), MaxID)
	}
	return nil
}

// Check reports what is wrong with w whatever the store holds: ErrInvalid or
// ErrTooLarge. Engines call it first.
func (w *Write) Check() error {
	if err := w.Object.Check(); err != nil {
		return err
	}
	e := &w.Entry
	switch {
	case e.Kind > EntryTombstone:
		return fmt.Errorf("%w: entry kind %d", ErrInvalid, e.Kind)
	case e.Kind == EntryTombstone && (len(e.Body) > 0 || len(e.Blobs) > 0):
		return fmt.Errorf("%w: a tombstone has no body", ErrInvalid)
	case len(e.Body) > MaxEntry:
		return fmt.Errorf("%w: entry of %d bytes, limit %d; put it into a blob", ErrTooLarge, len(e.Body), MaxEntry)
	case len(e.Blobs) > MaxBlobs:
		return fmt.Errorf("%w: %d blobs in one entry, limit %d", ErrTooLarge, len(e.Blobs), MaxBlobs)
	case len(w.Records) > MaxRecords:
		return fmt.Errorf("%w: %d records in one write, limit %d", ErrTooLarge, len(w.Records), MaxRecords)
	}
	return w.checkRecords()
}

func (w *Write) checkRecords() error {
	total := len(w.Entry.Body)
	for i := range w.Records {
		r := &w.Records[i]
		if err := r.Check(); err != nil {
			return err
		}
		for j := range i {
			if w.Records[j].Key == r.Key {
				return fmt.Errorf("%w: two changes of one record in one write", ErrInvalid)
			}
		}
		total += len(r.Key) + len(r.Value)
	}
	if total > MaxWrite {
		return fmt.Errorf("%w: write of %d bytes, limit %d", ErrTooLarge, total, MaxWrite)
	}
	return nil
}

// Expires returns when a record written now vanishes, in Unix nanoseconds as now
// is, 0 for never. It is for engines.
func (r *RecordWrite) Expires(now int64) int64 {
	switch {
	case r.TTL <= 0:
		return 0
	case int64(r.TTL) > math.MaxInt64-now:
		return math.MaxInt64
	}
	return now + int64(r.TTL)
}

// Check reports what is wrong with r whatever the store holds: ErrInvalid or
// ErrTooLarge.
func (r *RecordWrite) Check() error {
	switch {
	case r.Key == "":
		return fmt.Errorf("%w: empty key", ErrInvalid)
	case len(r.Key) > MaxKey:
		return fmt.Errorf("%w: key of %d bytes, limit %d", ErrTooLarge, len(r.Key), MaxKey)
	case len(r.Value) > MaxValue:
		return fmt.Errorf("%w: value of %d bytes, limit %d", ErrTooLarge, len(r.Value), MaxValue)
	case r.TTL < 0:
		return fmt.Errorf("%w: negative TTL", ErrInvalid)
	case r.Delete && r.Prev == 0:
		return fmt.Errorf("%w: delete at revision 0, which means that there is nothing", ErrInvalid)
	}
	return nil
}

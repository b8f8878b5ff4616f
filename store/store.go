// Package store is the seam between Causeway and durable storage.
//
// Two things are kept: small records under string keys ([Records]: sessions,
// tasks, grants, clients, handles), and one journal per durable object
// ([Journal]). An [Engine] implements both and everything above it, the wire,
// sign-in and objects, works on it unchanged. [NewMemory] is an engine for
// tests and trials; it promises nothing across a restart. Why the seam is cut
// here is in docs/decisions/0003-store-seam.md.
//
// The conformance suite in store/storetest must pass for every engine.
package store

import (
	"context"
	"errors"
	"iter"
	"time"
)

// Errors that every engine reports, possibly wrapped; test with [errors.Is].
var (
	// ErrNotFound: there is no record under the key, or it has expired.
	ErrNotFound = errors.New("store: not found")
	// ErrConflict: the record is not at the revision the writer expected.
	// Nothing was written. Read again and decide anew.
	ErrConflict = errors.New("store: revision conflict")
	// ErrUnknown: whether the write took effect is not known (a timeout, a lost
	// connection). Read again before repeating it.
	ErrUnknown = errors.New("store: outcome unknown")
	// ErrTooLarge: the key or value is over the engine's limit.
	ErrTooLarge = errors.New("store: too large")
	// ErrCompacted: a watch cannot resume from that revision without a gap.
	// List the prefix and watch from the listed revision.
	ErrCompacted = errors.New("store: revision compacted")
	// ErrClosed: the engine has been closed.
	ErrClosed = errors.New("store: closed")
)

// Limits that callers may rely on: every engine accepts at least these.
const (
	// MaxKey is the longest key, in bytes.
	MaxKey = 512
	// MaxValue is the largest record value, in bytes. Larger things are blobs or
	// journals, not records.
	MaxValue = 1 << 20
)

// A Revision orders the changes of one engine. It grows with every change of
// any record; 0 means "there is no record".
type Revision uint64

// A Record is one stored value.
type Record struct {
	Key      string
	Value    []byte // the caller's to keep; engines hand out copies
	Revision Revision
	// Expires is when the record vanishes by itself; the zero time is never.
	Expires time.Time
}

// A Change is one event of a watch.
type Change struct {
	// Record is the record as it is now. For a deletion or an expiry only Key
	// and Revision are set.
	Record Record
	// Deleted reports that the record is gone.
	Deleted bool
	// Heartbeat reports that nothing is missing up to Record.Revision; no other
	// field is set. Heartbeats come at least every second.
	Heartbeat bool
}

// PutOptions are the options of [Records.Put]. Nil is the zero value.
type PutOptions struct {
	// TTL makes the record vanish this long after the write. Zero is never. A
	// later put replaces the TTL too. Engines may be up to a second late, but a
	// read never returns a record past its time.
	TTL time.Duration
}

// Records is a table of small records under string keys, changed only by
// compare-and-set. Implementations are safe for concurrent use.
//
// A write that returns nil is durable, as far as the engine promises
// durability at all. A write that returns an error other than [ErrUnknown]
// left nothing behind.
type Records interface {
	// Get returns the record as of now: it sees every write that was
	// acknowledged, by anyone, before Get was called. [ErrNotFound] if there is
	// none.
	Get(ctx context.Context, key string) (Record, error)

	// GetCached is Get that may answer from a copy; age is how old the answer
	// may be at most. Zero means fresh.
	GetCached(ctx context.Context, key string) (r Record, age time.Duration, err error)

	// Put writes value under key if the record is at revision prev, 0 for "must
	// not exist" and [AnyRevision] for whatever it is, and returns its new
	// revision. [ErrConflict] otherwise.
	Put(ctx context.Context, key string, value []byte, prev Revision, opts *PutOptions) (Revision, error)

	// Delete removes the record if it is at revision prev. [ErrConflict] if it
	// is at another, [ErrNotFound] if it is not there, [ErrInvalid] if prev is 0.
	Delete(ctx context.Context, key string, prev Revision) error

	// List yields the records whose keys begin with prefix, in key order. It is
	// not a snapshot, but a record that is there unchanged throughout is listed
	// exactly once. After a non-nil error the sequence ends.
	List(ctx context.Context, prefix string) iter.Seq2[Record, error]

	// Watch yields every change of records whose keys begin with prefix that
	// comes after revision since, in order and without gaps, until the caller
	// stops or ctx ends; then it yields the ctx's error. since 0 starts with the
	// present: every existing record first, then a heartbeat, then changes. If the
	// engine no longer knows what happened after since, or since is from another
	// life of the store, it yields [ErrCompacted] and ends. Intermediate values of
	// one record may be skipped in favour of its newest, deletions may not.
	Watch(ctx context.Context, prefix string, since Revision) iter.Seq2[Change, error]
}

// Package storetest is the conformance suite that every engine of package
// store passes, and an engine wrapper that fails on purpose.
package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/store"
)

// Run checks an engine against the promises of package store. open returns a
// fresh, empty engine each time; Run closes it.
func Run(t *testing.T, open func(t *testing.T) store.Engine) {
	with := func(test func(*testing.T, store.Engine)) func(*testing.T) {
		return func(t *testing.T) {
			e := open(t)
			t.Cleanup(func() {
				if err := e.Close(); err != nil {
					t.Errorf("closing: %v", err)
				}
			})
			test(t, e)
		}
	}
	t.Run("records", func(t *testing.T) {
		t.Run("a write needs the right revision", with(writesNeedTheirRevision))
		t.Run("one of many racing writers wins", with(oneRacingWriterWins))
		t.Run("an expired record is gone for everybody", with(expiredRecordsAreGone))
		t.Run("a put replaces the time to live", with(putReplacesTTL))
		t.Run("a list is in order and complete under writes", with(listIsOrderedAndComplete))
		t.Run("values are copied in and out", with(valuesAreCopied))
		t.Run("limits are as promised", with(recordLimits))
		t.Run("a read is never older than an acknowledged write", with(readsAreFresh))
		t.Run("a cancelled call writes nothing", with(cancelledCallWritesNothing))
	})
	t.Run("watch", func(t *testing.T) {
		t.Run("starts with the present and misses nothing", with(watchMissesNothing))
		t.Run("resumes from a revision", with(watchResumes))
		t.Run("refuses a revision it does not know", with(watchRefusesUnknownRevision))
		t.Run("says that it is alive", with(watchBeats))
		t.Run("sees expiry as deletion", with(watchSeesExpiry))
	})
	t.Run("journal", func(t *testing.T) {
		t.Run("only the right tail can append", with(onlyTheTailAppends))
		t.Run("one of many racing claimants wins", with(oneClaimantWins))
		t.Run("a zombie never writes after a takeover", with(zombiesNeverWrite))
		t.Run("a position is never used twice", with(positionsAreUnique))
		t.Run("a writer may run ahead", with(writersRunAhead))
		t.Run("what follows a failed append fails too", with(followersOfFailureFail))
		t.Run("an entry and its records are one write", with(entryAndRecordsAreOne))
		t.Run("a snapshot replaces what was before", with(snapshotReplaces))
		t.Run("a tombstone leaves nothing", with(tombstoneLeavesNothing))
		t.Run("blobs live as long as they are named", with(blobsLiveWhileNamed))
		t.Run("entries are copied in and out", with(entriesAreCopied))
		t.Run("limits are as promised", with(journalLimits))
		t.Run("objects are listed by kind", with(objectsAreListed))
		t.Run("a load sees one state under snapshots", with(loadSeesOneState))
		t.Run("a cancelled append writes nothing", with(cancelledAppendWritesNothing))
	})
	t.Run("close", func(t *testing.T) {
		t.Run("ends everything", with(closeEndsEverything))
		t.Run("twice is no error", with(func(t *testing.T, e store.Engine) {
			must(t, e.Close())
			must(t, e.Close())
		}))
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

func put(t testing.TB, e store.Records, key, value string, prev store.Revision) store.Revision {
	t.Helper()
	rev, err := e.Put(t.Context(), key, []byte(value), prev, nil)
	if err != nil {
		t.Fatalf("put %q at %d: %v", key, prev, err)
	}
	if rev == 0 || rev <= prev && prev != store.AnyRevision {
		t.Fatalf("put %q: revision %d does not grow from %d", key, rev, prev)
	}
	return rev
}

func wantValue(t testing.TB, e store.Records, key, value string) store.Record {
	t.Helper()
	r, err := e.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	if string(r.Value) != value || r.Key != key {
		t.Fatalf("get %q is %q under %q, want %q", key, r.Value, r.Key, value)
	}
	return r
}

func wantNone(t testing.TB, e store.Records, key string) {
	t.Helper()
	if r, err := e.Get(t.Context(), key); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("get %q is %q, %v, want ErrNotFound", key, r.Value, err)
	}
}

// eventually waits for what has no event to wait for, such as a clock.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func keys(t testing.TB, e store.Records, prefix string) []string {
	t.Helper()
	var keys []string
	for r, err := range e.List(t.Context(), prefix) {
		if err != nil {
			t.Fatalf("list %q: %v", prefix, err)
		}
		keys = append(keys, r.Key)
	}
	return keys
}

func appendTo(ctx context.Context, j store.Journal, w store.Write) (store.Seq, error) {
	return j.Append(ctx, w).Wait(ctx)
}

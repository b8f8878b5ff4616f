package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/causeway-mcp/causeway/store"
)

var obj = store.ObjectID{Kind: "counter", ID: "one"}

// add appends an update and returns the new tail.
func add(t testing.TB, j store.Journal, id store.ObjectID, prev store.Seq, body string) store.Seq {
	t.Helper()
	return step(t, j, store.Write{Object: id, Prev: prev, Entry: store.Entry{Body: []byte(body)}})
}

func step(t testing.TB, j store.Journal, w store.Write) store.Seq {
	t.Helper()
	seq, err := appendTo(t.Context(), j, w)
	if err != nil {
		t.Fatalf("append to %v at %d: %v", w.Object, w.Prev, err)
	}
	if seq <= w.Prev && w.Entry.Kind != store.EntryTombstone {
		t.Fatalf("append to %v: position %d does not come after %d", w.Object, seq, w.Prev)
	}
	return seq
}

func bodies(t testing.TB, j store.Journal, id store.ObjectID) []string {
	t.Helper()
	var all []string
	var last store.Seq
	for e, err := range j.Load(t.Context(), id) {
		if err != nil {
			t.Fatalf("load %v: %v", id, err)
		}
		if e.Seq <= last {
			t.Fatalf("load %v: position %d after %d", id, e.Seq, last)
		}
		last = e.Seq
		all = append(all, string(e.Body))
	}
	return all
}

func wantBodies(t testing.TB, j store.Journal, id store.ObjectID, want ...string) {
	t.Helper()
	if got := bodies(t, j, id); !slices.Equal(got, want) {
		t.Fatalf("journal of %v is %q, want %q", id, got, want)
	}
}

func onlyTheTailAppends(t *testing.T, e store.Engine) {
	ctx := t.Context()
	_, err := appendTo(ctx, e, store.Write{Object: obj, Prev: 7})
	wantErr(t, err, store.ErrFenced)
	wantBodies(t, e, obj)
	a := add(t, e, obj, 0, "a")
	b := add(t, e, obj, a, "b")
	for _, prev := range []store.Seq{0, a, b - 1, b + 1} {
		if prev == b {
			continue
		}
		for kind := store.EntryUpdate; kind <= store.EntryTombstone; kind++ {
			_, err := appendTo(ctx, e, store.Write{Object: obj, Prev: prev, Entry: store.Entry{Kind: kind}})
			wantErr(t, err, store.ErrFenced)
		}
	}
	other := store.ObjectID{Kind: obj.Kind, ID: "two"}
	add(t, e, other, 0, "other")
	add(t, e, obj, b, "c")
	wantBodies(t, e, obj, "a", "b", "c")
	wantBodies(t, e, other, "other")
}

func oneClaimantWins(t *testing.T, e store.Engine) {
	tail := add(t, e, obj, 0, "made")
	for round := range 5 {
		var wg sync.WaitGroup
		var won atomic.Uint64
		var winners atomic.Int32
		for i := range 16 {
			wg.Go(func() {
				w := store.Write{Object: obj, Prev: tail, Entry: store.Entry{Kind: store.EntryClaim, Body: fmt.Append(nil, i)}}
				seq, err := appendTo(t.Context(), e, w)
				if err == nil {
					winners.Add(1)
					won.Store(uint64(seq))
				} else if !errors.Is(err, store.ErrFenced) {
					t.Errorf("claim: %v", err)
				}
			})
		}
		wg.Wait()
		if winners.Load() != 1 {
			t.Fatalf("round %d has %d winners", round, winners.Load())
		}
		tail = store.Seq(won.Load())
	}
	if n := len(bodies(t, e, obj)); n != 6 {
		t.Errorf("%d entries, want one and five claims", n)
	}
}

func zombiesNeverWrite(t *testing.T, e store.Engine) {
	tail := add(t, e, obj, 0, "made")
	var wg sync.WaitGroup
	start := make(chan struct{})
	var epochs sync.Map
	for owner := range 4 {
		wg.Go(func() {
			<-start
			for range 5 {
				own(t, e, owner, &epochs)
			}
		})
	}
	_ = tail
	close(start)
	wg.Wait()
	owner := ""
	for e, err := range e.Load(t.Context(), obj) {
		must(t, err)
		switch e.Kind {
		case store.EntryClaim:
			owner = string(e.Body)
		case store.EntryUpdate:
			if string(e.Body) != owner && owner != "" {
				t.Fatalf("entry %d is of %q after the claim of %q", e.Seq, e.Body, owner)
			}
		}
	}
}

// own takes the object over and writes until fenced or content.
func own(t testing.TB, j store.Journal, owner int, epochs *sync.Map) {
	var tail store.Seq
	for e, err := range j.Load(t.Context(), obj) {
		if err != nil {
			t.Error(err)
			return
		}
		tail = e.Seq
	}
	me := fmt.Append(nil, "owner ", owner)
	tail, err := appendTo(t.Context(), j, store.Write{Object: obj, Prev: tail, Entry: store.Entry{Kind: store.EntryClaim, Body: me}})
	if err == nil {
		if _, taken := epochs.LoadOrStore(tail, owner); taken {
			t.Errorf("epoch %d was given out twice", tail)
		}
	}
	for i := 0; i < 5 && err == nil; i++ {
		tail, err = appendTo(t.Context(), j, store.Write{Object: obj, Prev: tail, Entry: store.Entry{Body: me}})
	}
	if err != nil && !errors.Is(err, store.ErrFenced) {
		t.Error(err)
	}
}

func positionsAreUnique(t *testing.T, e store.Engine) {
	seen := make(map[store.Seq]bool)
	var old store.Seq
	for range 3 {
		a := add(t, e, obj, 0, "a")
		b := add(t, e, obj, a, "b")
		for _, seq := range []store.Seq{a, b} {
			if seen[seq] {
				t.Fatalf("position %d was used twice", seq)
			}
			seen[seq] = true
		}
		if old != 0 { // who knew the object before it was deleted is out
			_, err := appendTo(t.Context(), e, store.Write{Object: obj, Prev: old})
			wantErr(t, err, store.ErrFenced)
		}
		old = b
		step(t, e, store.Write{Object: obj, Prev: b, Entry: store.Entry{Kind: store.EntryTombstone}})
	}
}

func writersRunAhead(t *testing.T, e store.Engine) {
	const n = 200
	var last store.Pending
	var all []store.Pending
	var want []string
	for i := range n {
		body := fmt.Sprint(i)
		last = e.Append(t.Context(), store.Write{Object: obj, After: last, Entry: store.Entry{Body: []byte(body)}})
		all, want = append(all, last), append(want, body)
	}
	tail, err := last.Wait(t.Context())
	must(t, err)
	var before store.Seq
	for i, p := range all {
		<-p.Done()
		seq, err := p.Wait(t.Context())
		if err != nil || seq <= before {
			t.Fatalf("append %d: position %d after %d, %v", i, seq, before, err)
		}
		before = seq
	}
	wantBodies(t, e, obj, want...)
	add(t, e, obj, tail, "on")
}

func followersOfFailureFail(t *testing.T, e store.Engine) {
	put(t, e, "there", "x", 0)
	tail := add(t, e, obj, 0, "a")
	bad := e.Append(t.Context(), store.Write{Object: obj, Prev: tail, Entry: store.Entry{Body: []byte("bad")},
		Records: []store.RecordWrite{{Key: "there"}}})
	next := e.Append(t.Context(), store.Write{Object: obj, After: bad, Entry: store.Entry{Body: []byte("next")}})
	_, err := bad.Wait(t.Context())
	wantErr(t, err, store.ErrConflict)
	_, err = next.Wait(t.Context())
	wantErr(t, err, store.ErrConflict)
	wantBodies(t, e, obj, "a")
	add(t, e, obj, tail, "b")
}

func entryAndRecordsAreOne(t *testing.T, e store.Engine) {
	ctx := t.Context()
	old := put(t, e, "old", "1", 0)
	gone := put(t, e, "gone", "1", 0)
	tail := step(t, e, store.Write{Object: obj, Entry: store.Entry{Body: []byte("a")}, Records: []store.RecordWrite{
		{Key: "new", Value: []byte("2")},
		{Key: "old", Value: []byte("2"), Prev: old},
		{Key: "gone", Delete: true, Prev: gone},
		{Key: "any", Value: []byte("2"), Prev: store.AnyRevision},
		{Key: "never there", Delete: true, Prev: store.AnyRevision},
	}})
	wantBodies(t, e, obj, "a")
	for _, key := range []string{"new", "old", "any"} {
		wantValue(t, e, key, "2")
	}
	wantNone(t, e, "gone")
	refused := []struct {
		name string
		prev store.Seq
		rec  store.RecordWrite
		want error
	}{
		{"a record that exists", tail, store.RecordWrite{Key: "new"}, store.ErrConflict},
		{"a record at another revision", tail, store.RecordWrite{Key: "old", Prev: old}, store.ErrConflict},
		{"a deletion of what is not there", tail, store.RecordWrite{Key: "gone", Delete: true, Prev: gone}, store.ErrConflict},
		{"a wrong tail", tail + 1, store.RecordWrite{Key: "fine"}, store.ErrFenced},
		{"an empty key", tail, store.RecordWrite{}, store.ErrInvalid},
	}
	for _, c := range refused {
		_, err := appendTo(ctx, e, store.Write{Object: obj, Prev: c.prev, Entry: store.Entry{Body: []byte("b")},
			Records: []store.RecordWrite{{Key: "first", Value: []byte("3")}, c.rec}})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: error is %v, want %v", c.name, err, c.want)
		}
		wantNone(t, e, "first")
		wantBodies(t, e, obj, "a")
	}
	_, err := appendTo(ctx, e, store.Write{Object: obj, Prev: tail,
		Records: []store.RecordWrite{{Key: "twice"}, {Key: "twice", Prev: store.AnyRevision}}})
	wantErr(t, err, store.ErrInvalid)
}

func stat(t testing.TB, j store.Journal, id store.ObjectID) store.ObjectInfo {
	t.Helper()
	info, err := j.Stat(t.Context(), id)
	must(t, err)
	return info
}

func snapshotReplaces(t *testing.T, e store.Engine) {
	tail := add(t, e, obj, 0, "a")
	tail = add(t, e, obj, tail, "bc")
	if info := stat(t, e, obj); info.Size != 3 || info.Entries != 2 || info.Tail != tail || info.Object != obj {
		t.Errorf("stat is %+v", info)
	}
	tail = step(t, e, store.Write{Object: obj, Prev: tail, Entry: store.Entry{Kind: store.EntrySnapshot, Body: []byte("abc!")}})
	wantBodies(t, e, obj, "abc!")
	tail = add(t, e, obj, tail, "d")
	wantBodies(t, e, obj, "abc!", "d")
	if info := stat(t, e, obj); info.Size != 5 || info.Entries != 2 || info.Tail != tail {
		t.Errorf("stat is %+v", info)
	}
	var kinds []store.EntryKind
	for e, err := range e.Load(t.Context(), obj) {
		must(t, err)
		kinds = append(kinds, e.Kind)
	}
	if !slices.Equal(kinds, []store.EntryKind{store.EntrySnapshot, store.EntryUpdate}) {
		t.Errorf("kinds are %v", kinds)
	}
	for range e.Load(t.Context(), obj) {
		break // a caller may stop
	}
}

func tombstoneLeavesNothing(t *testing.T, e store.Engine) {
	ctx := t.Context()
	_, err := appendTo(ctx, e, store.Write{Object: obj, Entry: store.Entry{Kind: store.EntryTombstone}})
	wantErr(t, err, store.ErrNotFound)
	tail := add(t, e, obj, 0, "a")
	blob, err := e.PutBlob(ctx, obj, strings.NewReader("large"))
	must(t, err)
	tail = step(t, e, store.Write{Object: obj, Prev: tail, Entry: store.Entry{Blobs: []store.Blob{blob}},
		Records: []store.RecordWrite{{Key: "alarm", Value: []byte("noon")}}})
	after := step(t, e, store.Write{Object: obj, Prev: tail, Entry: store.Entry{Kind: store.EntryTombstone},
		Records: []store.RecordWrite{{Key: "alarm", Delete: true, Prev: store.AnyRevision}}})
	if after != 0 {
		t.Errorf("the tail after a tombstone is %d, want 0", after)
	}
	wantBodies(t, e, obj)
	wantNone(t, e, "alarm")
	_, err = e.Stat(ctx, obj)
	wantErr(t, err, store.ErrNotFound)
	_, err = e.OpenBlob(ctx, obj, blob.ID)
	wantErr(t, err, store.ErrNotFound)
	for info, err := range e.Objects(ctx, "") {
		t.Errorf("%v is still listed, %v", info, err)
	}
	_, err = appendTo(ctx, e, store.Write{Object: obj, Prev: tail})
	wantErr(t, err, store.ErrFenced)
	add(t, e, obj, 0, "anew")
	wantBodies(t, e, obj, "anew")
}

func readBlob(t testing.TB, e store.Journal, blob string) []byte {
	t.Helper()
	r, err := e.OpenBlob(t.Context(), obj, blob)
	must(t, err)
	defer r.Close()
	b, err := io.ReadAll(r)
	must(t, err)
	return b
}

func blobsLiveWhileNamed(t *testing.T, e store.Engine) {
	ctx := t.Context()
	large := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	first, err := e.PutBlob(ctx, obj, bytes.NewReader(large))
	must(t, err)
	second, err := e.PutBlob(ctx, obj, strings.NewReader(""))
	must(t, err)
	if first.Size != int64(len(large)) || second.Size != 0 || first.ID == second.ID {
		t.Fatalf("blobs are %+v and %+v", first, second)
	}
	tail := step(t, e, store.Write{Object: obj, Entry: store.Entry{Body: []byte("a"), Blobs: []store.Blob{first, second}}})
	if !bytes.Equal(readBlob(t, e, first.ID), large) || len(readBlob(t, e, second.ID)) != 0 {
		t.Error("a blob came back changed")
	}
	for e, err := range e.Load(ctx, obj) {
		must(t, err)
		if !slices.Equal(e.Blobs, []store.Blob{first, second}) {
			t.Errorf("the entry names %v", e.Blobs)
		}
	}
	if info := stat(t, e, obj); info.Size != int64(len(large))+1 {
		t.Errorf("size is %d", info.Size)
	}
	tail = step(t, e, store.Write{Object: obj, Prev: tail, Entry: store.Entry{Kind: store.EntrySnapshot, Blobs: []store.Blob{first}}})
	if !bytes.Equal(readBlob(t, e, first.ID), large) {
		t.Error("a blob that the snapshot names changed")
	}
	_, err = e.OpenBlob(ctx, obj, second.ID)
	wantErr(t, err, store.ErrNotFound)
	other := store.ObjectID{Kind: obj.Kind, ID: "other"}
	_, err = e.OpenBlob(ctx, other, first.ID)
	wantErr(t, err, store.ErrNotFound)
	for name, b := range map[string]store.Blob{
		"of another object": first, "with a wrong size": {ID: first.ID, Size: 1},
		"that is not there": {ID: "none"}, "with a path for a name": {ID: "../../etc/passwd"},
	} {
		id, prev := other, store.Seq(0)
		if name != "of another object" {
			id, prev = obj, tail
		}
		_, err := appendTo(ctx, e, store.Write{Object: id, Prev: prev, Entry: store.Entry{Blobs: []store.Blob{b}}})
		if !errors.Is(err, store.ErrInvalid) {
			t.Errorf("an entry with a blob %s: error is %v, want ErrInvalid", name, err)
		}
		_, err = e.OpenBlob(ctx, other, b.ID)
		wantErr(t, err, store.ErrNotFound)
	}
	step(t, e, store.Write{Object: obj, Prev: tail, Entry: store.Entry{Kind: store.EntrySnapshot}})
	_, err = e.OpenBlob(ctx, obj, first.ID)
	wantErr(t, err, store.ErrNotFound)
	_, err = e.PutBlob(ctx, obj, io.MultiReader(strings.NewReader("half"), brokenReader{}))
	wantErr(t, err, errBroken)
}

var errBroken = errors.New("broken")

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errBroken }

func entriesAreCopied(t *testing.T, e store.Engine) {
	body := []byte("mine")
	value := []byte("mine")
	p := e.Append(t.Context(), store.Write{Object: obj, Entry: store.Entry{Body: body},
		Records: []store.RecordWrite{{Key: "k", Value: value}}})
	copy(body, "XXXX")
	copy(value, "XXXX")
	_, err := p.Wait(t.Context())
	must(t, err)
	for e, err := range e.Load(t.Context(), obj) {
		must(t, err)
		copy(e.Body, "YYYY")
	}
	wantBodies(t, e, obj, "mine")
	wantValue(t, e, "k", "mine")
}

func journalLimits(t *testing.T, e store.Engine) {
	ctx := t.Context()
	id := store.ObjectID{Kind: strings.Repeat("k", store.MaxKind), ID: strings.Repeat("\xff", store.MaxID)}
	largest := strings.Repeat("e", store.MaxEntry)
	add(t, e, id, 0, largest)
	wantBodies(t, e, id, largest)
	records := make([]store.RecordWrite, store.MaxRecords)
	for i := range records {
		records[i] = store.RecordWrite{Key: fmt.Sprint("r", i), Value: []byte{byte(i)}}
	}
	step(t, e, store.Write{Object: obj, Records: records})
	if got := keys(t, e, "r"); len(got) != store.MaxRecords {
		t.Errorf("%d records of %d", len(got), store.MaxRecords)
	}
	refused := []struct {
		name string
		w    store.Write
		want error
	}{
		{"no kind", store.Write{Object: store.ObjectID{ID: "x"}}, store.ErrInvalid},
		{"no id", store.Write{Object: store.ObjectID{Kind: "x"}}, store.ErrInvalid},
		{"a long kind", store.Write{Object: store.ObjectID{Kind: id.Kind + "k", ID: "x"}}, store.ErrTooLarge},
		{"a long id", store.Write{Object: store.ObjectID{Kind: "x", ID: id.ID + "x"}}, store.ErrTooLarge},
		{"a large body", store.Write{Object: obj, Entry: store.Entry{Body: []byte(largest + "e")}}, store.ErrTooLarge},
		{"many records", store.Write{Object: obj, Records: append(records, store.RecordWrite{Key: "s"})}, store.ErrTooLarge},
		{"many blobs", store.Write{Object: obj, Entry: store.Entry{Blobs: make([]store.Blob, store.MaxBlobs+1)}}, store.ErrTooLarge},
		{"an unknown kind of entry", store.Write{Object: obj, Entry: store.Entry{Kind: 99}}, store.ErrInvalid},
		{"a tombstone with a body", store.Write{Object: obj, Entry: store.Entry{Kind: store.EntryTombstone, Body: []byte("x")}}, store.ErrInvalid},
	}
	for _, c := range refused {
		if _, err := appendTo(ctx, e, c.w); !errors.Is(err, c.want) {
			t.Errorf("%s: error is %v, want %v", c.name, err, c.want)
		}
	}
}

func objectsAreListed(t *testing.T, e store.Engine) {
	want := map[store.ObjectID]store.Seq{}
	for i := range 100 {
		id := store.ObjectID{Kind: []string{"a", "ab"}[i%2], ID: fmt.Sprint("b", i)}
		want[id] = add(t, e, id, 0, "x")
	}
	for _, kind := range []string{"", "a", "ab", "b"} {
		seen := map[store.ObjectID]bool{}
		for info, err := range e.Objects(t.Context(), kind) {
			must(t, err)
			if want[info.Object] != info.Tail || info.Entries != 1 || info.Size != 1 || seen[info.Object] {
				t.Errorf("kind %q lists %+v", kind, info)
			}
			seen[info.Object] = true
		}
		if n := map[string]int{"": 100, "a": 50, "ab": 50, "b": 0}[kind]; len(seen) != n {
			t.Errorf("kind %q lists %d objects, want %d", kind, len(seen), n)
		}
	}
	for range e.Objects(t.Context(), "") {
		break // a caller may stop
	}
}

func loadSeesOneState(t *testing.T, e store.Engine) {
	tail := step(t, e, store.Write{Object: obj, Entry: store.Entry{Kind: store.EntrySnapshot, Body: []byte("0")}})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 1; i < 300; i++ {
			w := store.Write{Object: obj, Prev: tail, Entry: store.Entry{Body: fmt.Append(nil, i)}}
			if i%10 == 0 {
				w.Entry.Kind = store.EntrySnapshot
			}
			var err error
			if tail, err = appendTo(t.Context(), e, w); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		loadOnce(t, e)
	}
}

// loadOnce checks that the entries are n, n+1, ... from a snapshot on.
func loadOnce(t testing.TB, e store.Journal) {
	next := -1
	for e, err := range e.Load(t.Context(), obj) {
		if errors.Is(err, store.ErrConflict) {
			return
		}
		must(t, err)
		var n int
		if _, err := fmt.Sscan(string(e.Body), &n); err != nil {
			t.Fatal(err)
		}
		if next >= 0 && n != next || next < 0 && n%10 != 0 {
			t.Fatalf("entry %d where %d belongs", n, next)
		}
		next = n + 1
	}
	if next < 0 {
		t.Fatal("an object that exists loads as nothing")
	}
}

func cancelledAppendWritesNothing(t *testing.T, e store.Engine) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := e.Append(ctx, store.Write{Object: obj}).Wait(t.Context())
	wantErr(t, err, context.Canceled)
	wantBodies(t, e, obj)
	// Who stops waiting does not know; the write itself goes on.
	p := e.Append(t.Context(), store.Write{Object: obj, Entry: store.Entry{Body: []byte("a")}})
	if _, err := p.Wait(ctx); err != nil {
		wantErr(t, err, store.ErrUnknown)
		wantErr(t, err, context.Canceled)
	}
	tail, err := p.Wait(t.Context())
	must(t, err)
	add(t, e, obj, tail, "b")
}

func closeEndsEverything(t *testing.T, e store.Engine) {
	ctx := t.Context()
	rev := put(t, e, "k", "v", 0)
	tail := add(t, e, obj, 0, "a")
	watch := make(chan error, 1)
	watching := make(chan struct{})
	go func() {
		var last error
		var once sync.Once
		for _, err := range e.Watch(ctx, "", 0) {
			once.Do(func() { close(watching) })
			last = err
		}
		watch <- last
	}()
	<-watching
	must(t, e.Close())
	wantErr(t, <-watch, store.ErrClosed)
	_, err := e.Get(ctx, "k")
	wantErr(t, err, store.ErrClosed)
	_, err = e.Put(ctx, "k", nil, rev, nil)
	wantErr(t, err, store.ErrClosed)
	wantErr(t, e.Delete(ctx, "k", rev), store.ErrClosed)
	_, err = appendTo(ctx, e, store.Write{Object: obj, Prev: tail})
	wantErr(t, err, store.ErrClosed)
	_, err = e.Stat(ctx, obj)
	wantErr(t, err, store.ErrClosed)
	_, err = e.PutBlob(ctx, obj, strings.NewReader("x"))
	wantErr(t, err, store.ErrClosed)
	_, err = e.OpenBlob(ctx, obj, "x")
	wantErr(t, err, store.ErrClosed)
	for _, err := range e.List(ctx, "") {
		wantErr(t, err, store.ErrClosed)
	}
	for _, err := range e.Load(ctx, obj) {
		wantErr(t, err, store.ErrClosed)
	}
	for _, err := range e.Objects(ctx, "") {
		wantErr(t, err, store.ErrClosed)
	}
	for _, err := range e.Watch(ctx, "", 0) {
		wantErr(t, err, store.ErrClosed)
	}
}

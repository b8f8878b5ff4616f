package local

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/internal/faultdisk"
	"github.com/causeway-mcp/causeway/store"
)

// eventually waits for what the maintenance goroutine does in its own time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func TestAColdObjectDoesNotPinTheLog(t *testing.T) {
	d := faultdisk.New(1)
	opts := small()
	opts.disk = d
	s := open(t, "", opts)
	cold := store.ObjectID{Kind: "cold", ID: "i"}
	body := bytes.Repeat([]byte("c"), 5000)
	coldTail, err := s.Append(t.Context(), store.Write{Object: cold, Entry: store.Entry{Body: body}}).Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var tail store.Seq
	for range 1500 { // 90 segments
		tail, err = s.Append(t.Context(), store.Write{Object: store.ObjectID{Kind: "hot", ID: "i"}, Prev: tail,
			Entry: store.Entry{Kind: store.EntrySnapshot, Body: body}}).Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the log is short again", func() bool { return d.Used() < 1<<20 })
	for range 2 {
		n := 0
		for e, err := range s.Load(t.Context(), cold) {
			if err != nil || e.Seq != coldTail || !bytes.Equal(e.Body, body) {
				t.Fatalf("the cold object: entry %d, %v", e.Seq, err)
			}
			n++
		}
		if n != 1 {
			t.Fatalf("the cold object has %d entries", n)
		}
		s.Close()
		s = open(t, "", opts)
	}
}

func TestSessionsThatComeAndGoLeaveNothing(t *testing.T) {
	d := faultdisk.New(1)
	opts := small()
	opts.disk = d
	s := open(t, "", opts)
	if _, err := s.Put(t.Context(), "stays", []byte("v"), 0, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 8000 {
		key := fmt.Sprintf("session/%064d", i)
		rev, err := s.Put(t.Context(), key, []byte("v"), 0, nil)
		if err == nil {
			err = s.Delete(t.Context(), key, rev)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "their traces are gone", func() bool { return d.Used() < 1<<20 })
	if _, err := s.Get(t.Context(), "stays"); err != nil {
		t.Error(err)
	}
}

func TestTheIndexBoundsWhatIsReplayed(t *testing.T) {
	d := faultdisk.New(1)
	opts := small()
	opts.SegmentSize, opts.Segments, opts.IndexEvery, opts.disk = 1<<20, 50, 300, d
	s := open(t, "", opts)
	for i := range 3000 {
		if _, err := s.Put(t.Context(), fmt.Sprint("k", i), nil, 0, nil); err != nil {
			t.Fatal(err)
		}
	}
	bound := 300 + 3000/4
	eventually(t, "the index is new", func() bool {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return s.dirty < bound
	})
	abandonStore(s)
	s = open(t, "", opts)
	if s.dirty > 2*bound {
		t.Errorf("%d changes were replayed, want about %d at most", s.dirty, bound)
	}
}

func TestFilesAreTheOwnersOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := open(t, dir, nil)
	if _, err := s.PutBlob(t.Context(), store.ObjectID{Kind: "k", ID: "i"}, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A client that knows the format writes bodies full of batches, before the power
// fails. They must neither be replayed nor be taken for proof of damage. That the
// bodies would do harm is shown with the directory's own seed, which no client knows.
func TestClientsCannotForgeBatches(t *testing.T) {
	for _, seed := range []uint32{0, 1, ^uint32(0)} {
		if err := tornForgery(t, func(*Store) uint32 { return seed }); err != nil {
			t.Errorf("with seed %d: %v", seed, err)
		}
	}
	if err := tornForgery(t, func(s *Store) uint32 { return s.seed }); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("with the right seed: %v, want ErrDamaged, or else this test shows nothing", err)
	}
}

// tornForgery has a client write forged batches with this seed into the last
// batch, tears that and opens the store again.
func tornForgery(t *testing.T, seedOf func(*Store) uint32) error {
	c := newCrashing(1, *small())
	s := open(t, "", &c.opts)
	id := store.ObjectID{Kind: "k", ID: "i"}
	body := make([]byte, page-batchHeader-(frameHeader+len(id.Kind)+len(id.ID)))
	seed := seedOf(s)
	for number := range uint64(8) { // one of them names the right segment
		b := appendFrame(make([]byte, batchHeader), &frame{lsn: 1000, typ: framePut, key: "forged"}, seed)
		h := batchHead{segment: number, firstLSN: 1000, payload: uint32(len(b) - batchHeader), count: 1}
		h.seal(b, seed)
		body = append(append(body, b...), make([]byte, page-len(b))...)
	}
	if _, err := s.Append(t.Context(), store.Write{Object: id, Entry: store.Entry{Body: body}}).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := c.disk.Clone()
	name, off := "log/0000000001.seg", int64(page)
	d.Flip(name, off+10, 0) // its header is torn, its body is there
	opts := *small()
	opts.disk = d
	s, err := Open("", &opts)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.Get(t.Context(), "forged"); !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("the forged record: %w", err)
	}
	if _, err := s.Stat(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("the torn write: %w", err)
	}
	return nil
}

func TestErrorsNameNoKeysAndNoIDs(t *testing.T) {
	c := newCrashing(1, *small())
	s := open(t, "", &c.opts)
	const secret = "5f3b-session-secret"
	id := store.ObjectID{Kind: "counter", ID: secret}
	rev, err := s.Put(t.Context(), secret, []byte("v"), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	tail, err := s.Append(t.Context(), store.Write{Object: id, Entry: store.Entry{Body: []byte("v")}}).Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range c.disk.Names() {
		if b := c.disk.Contents(name); strings.HasPrefix(name, "log/") && bytes.Contains(b, []byte(secret)) {
			for off := page; off+page <= len(b); off += page {
				c.disk.Flip(name, int64(off+batchHeader+frameHeader), 0)
			}
		}
	}
	_, getErr := s.Get(t.Context(), secret)
	var loadErr error
	for _, err := range s.Load(t.Context(), id) {
		loadErr = err
	}
	_, conflict := s.Append(t.Context(), store.Write{Object: id, Prev: tail, Records: []store.RecordWrite{{Key: secret, Prev: rev + 1}}}).Wait(t.Context())
	_, twice := s.Append(t.Context(), store.Write{Object: id, Prev: tail, Records: []store.RecordWrite{{Key: secret}, {Key: secret}}}).Wait(t.Context())
	for _, err := range []error{getErr, loadErr, conflict, twice, s.Verify(t.Context())} {
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("error is %v", err)
		}
	}
}

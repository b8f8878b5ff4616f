package local

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/causeway-mcp/causeway/internal/disk"
	"github.com/causeway-mcp/causeway/store"
	"github.com/causeway-mcp/causeway/store/storetest"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// small makes everything happen often.
func small() *Options {
	return &Options{SegmentSize: 64 << 10, Segments: 2, IndexEvery: 50, Logger: quiet()}
}

func open(t testing.TB, dir string, opts *Options) *Store {
	t.Helper()
	s, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestLocalConforms(t *testing.T) {
	for name, opts := range map[string]*Options{
		"as usual": nil, "with small files": small(), "crash-safe": {Sync: CrashSafe, Logger: quiet()},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) store.Engine { return open(t, t.TempDir(), opts) })
		})
	}
}

func TestLocalIsDurable(t *testing.T) {
	for name, opts := range map[string]*Options{"as usual": {Logger: quiet()}, "with small files": small(), "crash-safe": {Sync: CrashSafe, Logger: quiet()}} {
		t.Run(name, func(t *testing.T) {
			storetest.RunDurable(t, func(t *testing.T, dir string) store.Engine { return open(t, dir, opts) })
		})
	}
}

func TestAFirstWriteLargerThanTheSegmentIsThereAfterReopening(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	large := strings.Repeat("x", store.MaxEntry)
	id := store.ObjectID{Kind: "k", ID: "i"}
	tail, err := s.Append(t.Context(), store.Write{Object: id, Entry: store.Entry{Body: []byte(large)}}).Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := s.Put(t.Context(), fmt.Sprint("k", i), []byte(large), 0, nil); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	s = open(t, dir, small())
	for e, err := range s.Load(t.Context(), id) {
		if err != nil || e.Seq != tail || string(e.Body) != large {
			t.Fatalf("entry %d of %d bytes, %v", e.Seq, len(e.Body), err)
		}
	}
	if err := s.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyFindsDamageAndCompactKeepsEverything(t *testing.T) {
	c := lived(t, 11, 200)
	s := open(t, "", &c.opts)
	if err := s.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.ledger.Check(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, "", &c.opts)
	if err := c.ledger.Check(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	pack := ""
	for _, name := range c.disk.Names() {
		if strings.HasPrefix(name, "pack/") {
			pack = name
		}
	}
	c.disk.Flip(pack, page+frameHeader+30, 3)
	if err := s.Verify(t.Context()); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), pack) {
		t.Errorf("after a bit flipped in %s: %v", pack, err)
	}
}

func TestMarkRestoredCounts(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	if _, err := s.Put(t.Context(), "k", nil, 0, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := MarkRestored(dir); !errors.Is(err, disk.ErrLocked) {
		t.Errorf("while it is open: %v", err)
	}
	s.Close()
	if n, err := MarkRestored(dir); n != 2 || err != nil {
		t.Errorf("incarnation %d, %v", n, err)
	}
	s = open(t, dir, nil)
	if _, err := s.Get(t.Context(), "k"); err != nil || s.Incarnation() != 2 {
		t.Errorf("incarnation %d, %v", s.Incarnation(), err)
	}
}

func TestAWatcherThatIsTooLateIsTold(t *testing.T) {
	for name, e := range map[string]store.Engine{"memory": store.NewMemory(), "local": open(t, t.TempDir(), &Options{Logger: quiet(), Sync: CrashSafe})} {
		first, err := e.Put(t.Context(), "k", nil, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		var tail store.Seq
		for range changesRemembered/store.MaxRecords + 1 { // many records in few writes
			w := store.Write{Object: store.ObjectID{Kind: "k", ID: "i"}, Prev: tail, Entry: store.Entry{Kind: store.EntrySnapshot}}
			for i := range store.MaxRecords {
				w.Records = append(w.Records, store.RecordWrite{Key: fmt.Sprint("r", i), Prev: store.AnyRevision})
			}
			if tail, err = e.Append(t.Context(), w).Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for _, err := range e.Watch(t.Context(), "", first) {
			if !errors.Is(err, store.ErrCompacted) {
				t.Errorf("%s: error is %v, want ErrCompacted", name, err)
			}
			break
		}
		e.Close()
	}
}

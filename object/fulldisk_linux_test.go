package object_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/object"
)

// The disk below the databases is full now and then, in the middle of whatever SQLite is doing. What was
// acknowledged is there when there is room again, and nothing else is.
func TestAFullDiskBelowDatabasesLosesNothing(t *testing.T) {
	small := t.TempDir()
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=40m,mode=0700"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(small, syscall.MNT_DETACH) })
	for seed := range uint64(crashRounds(t, 1)) {
		fillAndWrite(t, small, rand.New(rand.NewPCG(seed+3, 5)))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func fillAndWrite(t *testing.T, small string, r *rand.Rand) {
	dir := filepath.Join(small, "objects")
	defer os.RemoveAll(dir)
	s := openLocal(t, t.TempDir())
	h, err := object.NewHost(s, &object.Options{Dir: dir, Logger: quiet, IdleAfter: 20 * time.Millisecond, MaxOpen: 1})
	must(t, err)
	defer func() { shut(t, h); must(t, s.Close()) }()
	h.TuneForTests(nil)
	k := register(t, h, object.Spec[counter]{})
	acked, refused := map[string]int{}, 0
	for _, id := range []string{"a", "b"} {
		exec(t, k.Get(id), "CREATE TABLE t(id INTEGER PRIMARY KEY, pad)")
	}
	ballast := filepath.Join(small, "ballast")
	fill := func() { _ = os.WriteFile(ballast, make([]byte, 12<<20+r.IntN(24<<20)), 0o600) }
	fill()
	for range 40 {
		id := string("ab"[r.IntN(2)])
		o, n := k.Get(id), []int{1, 5, 900, 2000}[r.IntN(4)]
		switch r.IntN(8) {
		case 0, 1:
			_ = o.Vacuum(t.Context())
		case 2:
			fill()
		default:
			err := o.Tx(t.Context(), func(ctx context.Context, tx object.Tx, st *counter) error {
				st.N += n
				_, err := tx.ExecContext(ctx, many+"INSERT INTO t(pad) SELECT randomblob(1000) FROM c", n)
				return err
			})
			if err == nil {
				acked[id] += n
			} else {
				refused++
			}
		}
	}
	must(t, os.Remove(ballast))
	for id, want := range acked {
		o := k.Get(id)
		if rows, units := query[int](t, o, "SELECT count(*) FROM t"), state(t, o).N; rows != want || units != want {
			t.Errorf("object %s: %d rows and a state of %d, %d were acknowledged", id, rows, units, want)
		}
		if ok := query[string](t, o, "PRAGMA integrity_check"); ok != "ok" {
			t.Errorf("object %s: %s", id, ok)
		}
	}
	t.Logf("%v acknowledged, %d refused", acked, refused)
}

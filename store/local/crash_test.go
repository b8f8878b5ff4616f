package local

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/internal/faultdisk"
	"github.com/causeway-mcp/causeway/store"
	"github.com/causeway-mcp/causeway/store/storetest"
)

// rounds returns how many rounds a crash test runs: CAUSEWAY_CRASH_ROUNDS, or
// usual. make long sets it to 500 and more.
func rounds(t testing.TB, usual int) int {
	if s := os.Getenv("CAUSEWAY_CRASH_ROUNDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if testing.Short() {
		return usual / 5
	}
	return usual
}

// firstSeed is where the rounds draw from: CAUSEWAY_CRASH_FROM, for rounds that
// nobody has run before.
func firstSeed(t testing.TB) uint64 {
	s := os.Getenv("CAUSEWAY_CRASH_FROM")
	if s == "" {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// crashing is a store on a disk that crashes, and what it acknowledged.
type crashing struct {
	disk   *faultdisk.Disk
	ledger *storetest.Ledger
	opts   Options
	seed   uint64
}

func newCrashing(seed uint64, opts Options) *crashing {
	c := &crashing{disk: faultdisk.New(seed), ledger: storetest.NewLedger(nil), opts: opts, seed: seed}
	c.opts.disk = c.disk
	return c
}

// run opens the store, compares it with the books and writes until the disk
// crashes at its nth operation or the work is done. It returns what is wrong.
func (c *crashing) run(crashAt, steps int) error {
	c.disk.CrashAt(crashAt)
	s, err := Open("", &c.opts)
	if err != nil {
		if c.disk.Crashed() {
			return nil
		}
		return fmt.Errorf("opening: %w", err)
	}
	defer s.Close()
	ctx := context.Background()
	if err := c.ledger.Check(ctx, s); err != nil {
		if c.disk.Crashed() {
			return nil
		}
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, 3)
	for w := range errs {
		wg.Go(func() { errs[w] = c.ledger.Work(ctx, s, w, steps, c.seed) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil && !c.disk.Crashed() {
		return err
	}
	return nil
}

// verify opens the store without a crash and compares it with the books, and a
// copy that has lost its index.
func (c *crashing) verify() error {
	opts := c.opts
	clone := c.disk.Clone()
	clone.Forget(indexFile)
	opts.disk = clone
	for name, opts := range map[string]*Options{"": &c.opts, " without the index": &opts} {
		s, err := Open("", opts)
		if err != nil {
			return fmt.Errorf("opening after the crash%s: %w", name, err)
		}
		err = c.ledger.Check(context.Background(), s)
		s.Close()
		if err != nil {
			return fmt.Errorf("after the crash%s: %w", name, err)
		}
	}
	return nil
}

// survive crashes once within a life and then within recoveries or soon after.
// power says which of the crashes are power failures, the others are kills.
func (c *crashing) survive(crashAt int, power func(life int) bool) error {
	for life, at := range []int{crashAt, 1 + crashAt%17, 1 + crashAt%61, 1 + crashAt%113} {
		if err := c.run(at, 120); err != nil {
			return fmt.Errorf("life %d: %w", life, err)
		}
		c.disk.Restart(power(life))
	}
	return c.verify()
}

func always(int) bool       { return true }
func never(int) bool        { return false }
func everyOther(n int) bool { return n%2 == 1 }

func TestNothingIsLostAtAnyCrashPoint(t *testing.T) {
	total := workOps(t)
	n := rounds(t, 30)
	for _, mode := range []struct {
		name  string
		sync  Sync
		power func(int) bool
	}{
		{"power failure", PowerSafe, always},
		{"kill", PowerSafe, never},
		{"kill and then power failure", PowerSafe, everyOther},
		{"kill of a crash-safe store", CrashSafe, never},
	} {
		t.Run(mode.name, func(t *testing.T) {
			acked := 0
			for i := range n {
				opts := *small()
				opts.Sync = mode.sync
				c := newCrashing(firstSeed(t)+uint64(i), opts)
				at := 1 + i*total/n
				if err := c.survive(at, mode.power); err != nil {
					t.Fatalf("round %d, crash at operation %d of about %d: %v", i, at, total, err)
				}
				acked += c.ledger.Acked()
			}
			t.Logf("%d rounds over %d crash points, %d acknowledged writes, 0 lost", n, total, acked)
		})
	}
}

// workOps returns how many operations one life takes without a crash.
func workOps(t *testing.T) int {
	c := newCrashing(1, *small())
	if err := c.run(1<<40, 120); err != nil {
		t.Fatal(err)
	}
	return c.disk.Ops()
}

func TestACrashSafeStoreIsAPrefixAfterAPowerFailure(t *testing.T) {
	for i := range rounds(t, 10) {
		opts := *small()
		opts.Sync = CrashSafe
		c := newCrashing(uint64(i), opts)
		if err := c.run(20+7*i, 100); err != nil {
			t.Fatal(err)
		}
		c.disk.Restart(true)
		s, err := Open("", &c.opts)
		if err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		for _, err := range s.List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
		}
		s.Close()
	}
}

// The harness must notice an engine that acknowledges too early.
func TestTheHarnessNoticesAcknowledgementsBeforeSync(t *testing.T) {
	for i := range 60 {
		opts := *small()
		opts.breakAckBeforeSync = true
		c := newCrashing(uint64(i), opts)
		if err := c.survive(40+5*i, always); err != nil {
			t.Logf("noticed in round %d: %v", i, err)
			return
		}
	}
	t.Fatal("60 power failures of an engine that acknowledges before it syncs, and nothing was missed")
}

// What is not durable yet may still be lost, so nobody may have seen it.
func TestReadsShowOnlyWhatIsDurable(t *testing.T) {
	d := faultdisk.New(1)
	opts := small()
	opts.disk = d
	s := open(t, "", opts)
	ctx := t.Context()
	put := func(key string, prev store.Revision) store.Revision {
		rev, err := s.Put(ctx, key, []byte("old"), prev, nil)
		if err != nil {
			t.Fatal(err)
		}
		return rev
	}
	changed, gone := put("changed", 0), put("gone", 0)
	id, buried := store.ObjectID{Kind: "k", ID: "i"}, store.ObjectID{Kind: "k", ID: "buried"}
	var tails []store.Seq
	for _, id := range []store.ObjectID{id, buried} {
		tail, err := s.Append(ctx, store.Write{Object: id}).Wait(ctx)
		if err != nil {
			t.Fatal(err)
		}
		tails = append(tails, tail)
	}
	since := store.Revision(tails[1])

	release := d.HoldSyncs()
	defer release()
	last := s.Append(ctx, store.Write{Object: id, Prev: tails[0], Records: []store.RecordWrite{
		{Key: "new"}, {Key: "changed", Prev: changed}, {Key: "gone", Prev: gone, Delete: true}}})
	bury := s.Append(ctx, store.Write{Object: buried, Prev: tails[1], Entry: store.Entry{Kind: store.EntryTombstone}})
	soon, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	reads := map[string]func() error{
		"a new record":     func() error { _, err := s.Get(soon, "new"); return err },
		"a changed record": func() error { _, err := s.Get(soon, "changed"); return err },
		"a deleted record": func() error { _, err := s.Get(soon, "gone"); return err },
		"a list":           func() error { return firstError(s.List(soon, "")) },
		"a journal":        func() error { return firstError(s.Load(soon, id)) },
		"a stat":           func() error { _, err := s.Stat(soon, id); return err },
		"a deleted object": func() error { _, err := s.Stat(soon, buried); return err },
		"the objects":      func() error { return firstError(s.Objects(soon, "")) },
	}
	for name, read := range reads {
		if err := read(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want to wait for the disk", name, err)
		}
	}
	for c, err := range s.Watch(soon, "", since) {
		if err == nil && (!c.Heartbeat || c.Record.Revision > since) {
			t.Errorf("a watcher saw %+v", c)
		}
	}
	release()
	for _, p := range []store.Pending{last, bury} {
		if _, err := p.Wait(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Get(ctx, "new"); err != nil {
		t.Error(err)
	}
	if _, err := s.Stat(ctx, buried); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}

// firstError reads a sequence up to its first item.
func firstError[T any](seq iter.Seq2[T, error]) error {
	for _, err := range seq {
		return err
	}
	return nil
}

func TestAFailedSyncStopsTheStoreForGood(t *testing.T) {
	d := faultdisk.New(1)
	opts := small()
	opts.disk = d
	s := open(t, "", opts)
	rev, err := s.Put(t.Context(), "kept", []byte("v"), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	id := store.ObjectID{Kind: "k", ID: "kept"}
	if _, err := s.Append(t.Context(), store.Write{Object: id}).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.FailSyncs(errors.New("input/output error"))
	if _, err := s.Put(t.Context(), "unknown", nil, 0, nil); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("the write under way: %v, want ErrUnknown", err)
	}
	<-s.Failed()
	d.FailSyncs(nil)
	if _, err := s.Put(t.Context(), "later", nil, 0, nil); !errors.Is(err, store.ErrStopped) {
		t.Errorf("a later write: %v, want ErrStopped", err)
	}
	if r, err := s.Get(t.Context(), "kept"); err != nil || r.Revision != rev {
		t.Errorf("what was acknowledged: %v", err)
	}
	n := 0
	for _, err := range s.List(t.Context(), "kept") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	for info, err := range s.Objects(t.Context(), "") {
		if err != nil || info.Object != id {
			t.Fatal(info, err)
		}
		n++
	}
	if err := firstError(s.Load(t.Context(), id)); err != nil {
		t.Error(err)
	}
	if n != 2 {
		t.Errorf("one record and one object were kept, %d are listed", n)
	}
}

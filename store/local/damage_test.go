package local

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/causeway-mcp/causeway/internal/disk"
	"github.com/causeway-mcp/causeway/internal/faultdisk"
	"github.com/causeway-mcp/causeway/store"
)

// lived returns a disk on which a store has lived for a while and was killed.
func lived(t *testing.T, seed uint64, steps int) *crashing {
	t.Helper()
	c := newCrashing(seed, *small())
	if err := c.run(1<<40, steps); err != nil {
		t.Fatal(err)
	}
	s, err := Open("", &c.opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ledger.Work(context.Background(), s, 0, 12, seed+1); err != nil {
		t.Fatal(err)
	}
	c.disk = c.disk.Clone() // as it is now, the store still open
	s.Close()
	c.opts.disk = c.disk
	return c
}

// lastBatch finds the newest batch on the disk.
func lastBatch(t *testing.T, d *faultdisk.Disk) (name string, off, length int64) {
	t.Helper()
	f, err := parseFormat(d.Contents(formatFile))
	if err != nil {
		t.Fatal(err)
	}
	seed := (&Store{format: f}).checksumSeed()
	var newest uint64
	for _, n := range d.Names() {
		b := d.Contents(n)
		var number uint64
		if _, err := fmt.Sscanf(n, "log/%d.seg", &number); err != nil {
			continue
		}
		for at := int64(page); at < int64(len(b)); at += page {
			if h, err := parseBatchHead(b[at:], seed, number); err == nil && h.firstLSN >= newest {
				newest, name, off, length = h.firstLSN, n, at, batchHeader+int64(h.payload)
			}
		}
	}
	return name, off, length
}

func TestATornLastBatchIsDroppedAtEveryOffset(t *testing.T) {
	for _, c := range []struct{ size, step int64 }{{400, 1}, {9000, 97}} { // within a page, and over several
		tearLastBatch(t, int(c.size), c.step)
	}
}

func tearLastBatch(t *testing.T, size int, step int64) {
	c := newCrashing(1, *small())
	s := open(t, "", &c.opts)
	rev, err := s.Put(t.Context(), "before", []byte("kept"), 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), store.Write{Object: store.ObjectID{Kind: "k", ID: "i"},
		Entry:   store.Entry{Body: bytes.Repeat([]byte("t"), size)},
		Records: []store.RecordWrite{{Key: "before", Value: []byte("changed"), Prev: rev}, {Key: "new"}},
	}).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	whole := c.disk.Clone()
	name, off, length := lastBatch(t, whole)
	contents := whole.Contents(name)
	for cut := int64(0); cut <= length; cut += step {
		torn := bytes.Clone(contents)
		clear(torn[off+cut:])
		d := whole.Clone()
		d.SetContents(name, torn)
		opts := *small()
		opts.disk = d
		s, err := Open("", &opts)
		if err != nil {
			t.Fatalf("cut at byte %d of %d: %v", cut, length, err)
		}
		r, err := s.Get(t.Context(), "before")
		_, newErr := s.Get(t.Context(), "new")
		_, objErr := s.Stat(t.Context(), store.ObjectID{Kind: "k", ID: "i"})
		if gone := string(r.Value) == "kept"; err != nil || gone != errors.Is(newErr, store.ErrNotFound) || gone != errors.Is(objErr, store.ErrNotFound) || gone == (cut == length) {
			t.Fatalf("cut at byte %d of %d: %q, %v, %v, %v", cut, length, r.Value, err, newErr, objErr)
		}
		s.Close()
	}
}

func TestAFlippedBitIsNeverPassedOff(t *testing.T) {
	c := lived(t, 3, 250)
	lastName, lastOff, lastLen := lastBatch(t, c.disk)
	rnd := rand.New(rand.NewPCG(1, 2))
	refused, harmless := 0, 0
	for _, name := range c.disk.Names() {
		size := len(c.disk.Contents(name))
		if size == 0 || name == reserveFile || name == lockFile {
			continue
		}
		for i := range rounds(t, 40) {
			off := rnd.IntN(size)
			if i%4 == 0 {
				off = rnd.IntN(min(size, 2*page)) // headers
			}
			if name == lastName && int64(off) >= lastOff && int64(off) < lastOff+lastLen {
				continue // cannot be told from a torn tail
			}
			d := c.disk.Clone()
			d.Flip(name, int64(off), uint(rnd.IntN(8)))
			err := readEverything(c, d)
			switch {
			case err == nil:
				harmless++
			case errors.Is(err, store.ErrDamaged) || errors.Is(err, ErrFormat):
				refused++
				if !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "backup") && !strings.Contains(err.Error(), "program") && !strings.Contains(err.Error(), "directory") {
					t.Errorf("%s, byte %d: the error does not name the file and a remedy: %v", name, off, err)
				}
			default:
				t.Errorf("%s, byte %d: %v", name, off, err)
			}
		}
	}
	t.Logf("%d flips refused, %d in bytes that do not count", refused, harmless)
	if refused == 0 {
		t.Error("no flip was refused")
	}
}

func readEverything(c *crashing, d *faultdisk.Disk) error {
	opts := c.opts
	opts.disk = d
	s, err := Open("", &opts)
	if err != nil {
		return err
	}
	defer s.Close()
	return c.ledger.Check(context.Background(), s)
}

func TestAMissingFileIsRefused(t *testing.T) {
	c := lived(t, 4, 250)
	refused := 0
	for _, name := range c.disk.Names() {
		if !strings.HasPrefix(name, "log/") && !strings.HasPrefix(name, "pack/") && name != formatFile {
			continue
		}
		d := c.disk.Clone()
		d.Forget(name)
		err := readEverything(c, d)
		if last, _, _ := lastBatch(t, c.disk); name == last {
			continue // without its newest file the log just ends earlier
		}
		if err != nil && !errors.Is(err, store.ErrDamaged) && !errors.Is(err, ErrFormat) {
			t.Errorf("without %s: %v", name, err)
		}
		if err != nil {
			refused++
		}
	}
	if refused < 3 {
		t.Errorf("only %d missing files were noticed", refused)
	}
}

func snapshotOf(d *faultdisk.Disk) map[string]string {
	all := make(map[string]string)
	for _, name := range d.Names() {
		all[name] = string(d.Contents(name))
	}
	return all
}

func TestAForeignDirectoryIsLeftAlone(t *testing.T) {
	good := lived(t, 5, 60).disk
	text := string(good.Contents(formatFile))
	for name, change := range map[string]func(*faultdisk.Disk){
		"other files": func(d *faultdisk.Disk) { d.Forget(formatFile) },
		"a newer version": func(d *faultdisk.Disk) {
			d.SetContents(formatFile, []byte(strings.Replace(text, "version 1", "version 2", 1)))
		},
		"another program's": func(d *faultdisk.Disk) { d.SetContents(formatFile, []byte("PostgreSQL 18")) },
		"an empty format":   func(d *faultdisk.Disk) { d.SetContents(formatFile, nil) },
		"a cut format":      func(d *faultdisk.Disk) { d.SetContents(formatFile, []byte(text[:len(text)-4])) },
	} {
		t.Run(name, func(t *testing.T) {
			d := good.Clone()
			change(d)
			before := snapshotOf(d)
			opts := small()
			opts.disk = d
			_, err := Open("", opts)
			if !errors.Is(err, ErrFormat) {
				t.Errorf("error is %v, want ErrFormat", err)
			}
			if !maps.Equal(before, snapshotOf(d)) {
				t.Error("the directory was changed")
			}
			t.Log(err)
		})
	}
}

func TestADamagedDirectoryIsNotChanged(t *testing.T) {
	var c *crashing
	var name string
	for seed, off := uint64(6), int64(page); off == page; seed++ { // two batches at least
		c = lived(t, seed, 200)
		name, off, _ = lastBatch(t, c.disk)
	}
	c.disk.Flip(name, page+batchHeader+20, 0) // in the first batch, behind which others come
	before := snapshotOf(c.disk)
	_, err := Open("", &c.opts)
	if !errors.Is(err, store.ErrDamaged) {
		t.Fatalf("error is %v, want ErrDamaged", err)
	}
	t.Log(err)
	if !maps.Equal(before, snapshotOf(c.disk)) {
		t.Error("the directory was changed")
	}
}

func TestTheDirectoryHasOneOwner(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, nil)
	_, err := Open(dir, nil)
	if !errors.Is(err, disk.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) || !strings.Contains(err.Error(), dir) {
		t.Errorf("the second opening: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir, nil)
}

func TestAReadOnlyDiskIsNamed(t *testing.T) {
	c := lived(t, 7, 50)
	c.disk.SetReadOnly(true)
	if _, err := Open("", &c.opts); err == nil || !strings.Contains(err.Error(), "not writable") {
		t.Errorf("error is %v", err)
	}
}

func TestAFullDiskRefusesWritesAndKeepsWhatItHas(t *testing.T) {
	c := newCrashing(8, *small())
	c.disk.SetCapacity(700 << 10)
	s := open(t, "", &c.opts)
	ctx := t.Context()
	var revs []store.Revision
	value := bytes.Repeat([]byte("x"), 3000)
	for i := 0; ; i++ {
		rev, err := s.Put(ctx, fmt.Sprint("k", i), value, 0, nil)
		if errors.Is(err, store.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if revs = append(revs, rev); i > 1000 {
			t.Fatal("1000 records of 3 KB on a disk of 700 KB")
		}
	}
	t.Logf("full after %d records, %d bytes", len(revs), c.disk.Used())
	for i, rev := range revs {
		if r, err := s.Get(ctx, fmt.Sprint("k", i)); err != nil || r.Revision != rev || !bytes.Equal(r.Value, value) {
			t.Fatalf("record %d on the full disk: %v", i, err)
		}
	}
	if _, err := s.PutBlob(ctx, store.ObjectID{Kind: "k", ID: "i"}, bytes.NewReader(bytes.Repeat(value, 1000))); !errors.Is(err, store.ErrFull) {
		t.Errorf("a blob on the full disk: %v", err)
	}
	c.disk.SetCapacity(3 << 20) // somebody made room
	for i, rev := range revs {
		var err error
		eventually(t, "the engine notices that there is room", func() bool {
			revs[i], err = s.Put(ctx, fmt.Sprint("k", i), value[:100], rev, nil)
			return !errors.Is(err, store.ErrFull)
		})
		if err != nil {
			t.Fatalf("after room was made: %v", err)
		}
	}
	s.Close()
	s = open(t, "", &c.opts)
	for i, rev := range revs {
		if r, err := s.Get(ctx, fmt.Sprint("k", i)); err != nil || r.Revision != rev {
			t.Fatalf("record %d after reopening: %v", i, err)
		}
	}
}

func TestASmallDiskSufficesForSmallState(t *testing.T) {
	c := newCrashing(9, *small())
	c.disk.SetCapacity(900 << 10)
	s := open(t, "", &c.opts)
	var tail store.Seq
	id := store.ObjectID{Kind: "k", ID: "i"}
	for i := range 3000 {
		w := store.Write{Object: id, Prev: tail, Entry: store.Entry{Kind: store.EntrySnapshot, Body: make([]byte, 2000)}}
		var err error
		eventually(t, "old snapshots make room", func() bool {
			var next store.Seq
			if next, err = s.Append(t.Context(), w).Wait(t.Context()); err == nil {
				tail = next
			}
			return !errors.Is(err, store.ErrFull)
		})
		if err != nil {
			t.Fatalf("snapshot %d: %v", i, err)
		}
	}
	s.Close()
	s = open(t, "", &c.opts)
	if info, err := s.Stat(t.Context(), id); err != nil || info.Tail != tail {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestAnInterruptedFillLeavesNoRubbish(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, small()).Close()
	for _, name := range []string{"log/0000000099.seg.tmp", "pack/0000000098.pack.tmp", "blob/nobody"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("rubbish"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	open(t, dir, small()).Close()
	for _, name := range []string{"log/0000000099.seg.tmp", "pack/0000000098.pack.tmp", "blob/nobody"} {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there", name)
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(appendFrame(nil, &frame{lsn: 1, typ: framePut, key: "k", body: []byte("v"), expires: 7}, 0))
	f.Add(appendFrame(nil, &frame{lsn: 2, typ: frameEntry, kind: "k", key: "i", flags: flagFirst,
		blobs: []store.Blob{{ID: "b", Size: 9}}, body: []byte("v")}, 0))
	f.Add(appendFrame(nil, &frame{lsn: 3, typ: frameTombstone, kind: "k", key: "i"}, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		// A checksum that fits, so that what is behind it is reached.
		if n, err := frameSize(b); err == nil && n <= len(b) {
			b = bytes.Clone(b)
			sealFrame(b[:n], 0)
		}
		fr, size, err := parseFrame(b, 0)
		if err != nil {
			return
		}
		if again := appendFrame(nil, &fr, 0); !bytes.Equal(again[frameHeader:], b[frameHeader:size]) {
			t.Errorf("%x decodes to what encodes as %x", b[:size], again)
		}
	})
}

func FuzzBatch(f *testing.F) {
	b := make([]byte, batchHeader)
	b = appendFrame(b, &frame{lsn: 1, typ: framePut, key: "k", body: []byte("v")}, 0)
	h := batchHead{segment: 1, firstLSN: 1, payload: uint32(len(b) - batchHeader), count: 1}
	h.seal(b, 0)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := parseBatchHead(b, 0, 1); err == nil {
			parseBatch(nil, b, 0, 0, &h)
		}
		h := batchHead{segment: 1, firstLSN: 1, payload: uint32(max(0, len(b)-batchHeader)), count: 3}
		parseBatch(nil, b, 0, 0, &h)
		parseSegmentHead(b, 0, 1)
		parsePackHead(b, 0, 1, int64(len(b)))
	})
}

func FuzzIndex(f *testing.F) {
	c := newCrashing(1, *small())
	s, err := Open("", &c.opts)
	if err != nil {
		f.Fatal(err)
	}
	if err := c.ledger.Work(context.Background(), s, 0, 20, 1); err != nil {
		f.Fatal(err)
	}
	s.Close()
	ix := c.disk.Contents(indexFile)
	f.Add(ix[:len(ix)-4])
	f.Add(binary.LittleEndian.AppendUint64(nil, indexMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newStore(Options{Logger: quiet()})
		s.decodeIndex(&indexReader{b: b, interned: make(map[string]string)}, newReplay(s))
	})
}

func FuzzFormat(f *testing.F) {
	f.Add((&format{Version: 1, ID: strings.Repeat("0", 32), Incarnation: 1}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := parseFormat(b); err == nil && !bytes.Equal(got.encode(), b) {
			t.Errorf("%q is taken for %+v", b, got)
		}
	})
}

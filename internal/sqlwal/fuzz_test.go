package sqlwal

import (
	"bytes"
	"io"
	"os"
	"testing"
)

// Whatever parses can be applied, to whatever file, without more than an error; and what was written is read.
func FuzzParseChangeNeverPanicsAndApplies(f *testing.F) {
	was, now := make([]byte, 512), bytes.Repeat([]byte{7}, 512)
	c := &Change{PageSize: 512, Size: 3, Pages: []Page{{No: 1, Data: was}, {No: 3, Data: now}, {No: 2, Data: append([]byte("x"), was[1:]...), was: was}}}
	good, _ := c.AppendTo(nil, nil)
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte{changeFormat, 0x80, 0x20, 1, 0xff, 0xff, 0xff, 0x7f})
	f.Add([]byte{changeFormat, 0x80, 0x04, 1, 1, 3, 3, 1, 1, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseChange(b)
		if err != nil {
			return
		}
		file, err := os.CreateTemp(t.TempDir(), "base")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.Write(make([]byte, 8*512)); err != nil {
			t.Fatal(err)
		}
		if c.Size > 1<<10 {
			return // a long sparse file
		}
		if err := c.Apply(file); err != nil {
			return
		}
		size, err := file.Seek(0, io.SeekEnd)
		if err != nil || size != int64(c.Size)*int64(c.PageSize) {
			t.Errorf("%d pages of %d became %d bytes (%v)", c.Size, c.PageSize, size, err)
		}
	})
}

func FuzzPatchesMakeTheOnePageOfTheOther(f *testing.F) {
	f.Add([]byte("the same"), []byte("the same"))
	f.Add(bytes.Repeat([]byte("a"), 100), append(bytes.Repeat([]byte("a"), 90), "0123456789"...))
	f.Add(append([]byte("b"), make([]byte, 64)...), append(make([]byte, 64), 'b'))
	f.Fuzz(func(t *testing.T, was, now []byte) {
		n := min(len(was), len(now))
		was, now = was[:n], now[:n]
		before := []byte("kept")
		patch, ok := appendPatch(before, was, now)
		if !bytes.HasPrefix(patch, before) || !ok && len(patch) != len(before) {
			t.Fatalf("the buffer before a patch became %q", patch)
		}
		if !ok {
			return
		}
		page := bytes.Clone(was)
		if err := patchPage(page, patch[len(before):], n); err != nil || !bytes.Equal(page, now) {
			t.Errorf("patched: %v\n%x\n%x", err, page, now)
		}
	})
}

func FuzzAWalTailOfAnyBytesIsReadOrRefused(f *testing.F) {
	f.Add(make([]byte, walHeader+2*(frameHeader+512)))
	f.Add([]byte{0x37, 0x7f, 0x06, 0x82, 0, 0x2d, 0xe2, 0x18, 0, 0, 2, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := os.CreateTemp(t.TempDir(), "wal")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if _, err := file.Write(b); err != nil {
			t.Fatal(err)
		}
		tail := tail{file: file}
		if c, err := tail.read(); err == nil && c != nil && c.Bytes() > len(b) {
			t.Errorf("%d bytes of pages out of %d", c.Bytes(), len(b))
		}
	})
}

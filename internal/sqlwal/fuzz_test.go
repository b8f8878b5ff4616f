package sqlwal

import (
	"bytes"
	"os"
	"testing"
)

func FuzzParseChangeNeverPanicsAndRoundTrips(f *testing.F) {
	c := &Change{PageSize: 512, Size: 3, Pages: []Page{{1, make([]byte, 512)}, {3, bytes.Repeat([]byte{7}, 512)}}}
	good, _ := c.AppendTo(nil, nil)
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte{0x80, 0x20, 1, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseChange(b)
		if err != nil {
			return
		}
		again, _ := c.AppendTo(nil, nil)
		d, err := ParseChange(again)
		if err != nil || d.Size != c.Size || len(d.Pages) != len(c.Pages) {
			t.Fatalf("encoded again: %v", err)
		}
		for i := range c.Pages {
			if c.Pages[i].No != d.Pages[i].No || !bytes.Equal(c.Pages[i].Data, d.Pages[i].Data) {
				t.Fatalf("page %d differs", i)
			}
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

package expose

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

const statTail = " 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 33 18446744073709551615 1\n"

func TestParseStat(t *testing.T) {
	want := processStat{group: 77, start: 987654, resident: 33 * int64(os.Getpagesize())}
	for name, tt := range map[string]struct {
		raw string
		ok  bool
	}{
		"a process":                         {"7 (sh) S 1 77 7 0 -1" + statTail, true},
		"a name that looks like the rest":   {"7 (a) S 1 1 (b) R 2) S 1 77 7 0 -1" + statTail, true},
		"a name of line ends":               {"7 (\n\n \n) R 1 77 7 0 -1" + statTail, true},
		"one that waits for its parent":     {"7 (sh) Z 1 77 7 0 -1" + statTail, false},
		"one that is gone":                  {"7 (sh) X 1 77 7 0 -1" + statTail, false},
		"cut off":                           {"7 (sh) S 1 77 7 0 -1 4194560 1 2", false},
		"cut off within the name":           {"7 (sh", false},
		"nothing":                           {"", false},
		"a group that is no number":         {"7 (sh) S 1 x 7 0 -1" + statTail, false},
		"memory that is no number":          {strings.Replace("7 (sh) S 1 77 7 0 -1"+statTail, " 33 ", " x ", 1), false},
		"a start that is no number, or -1":  {strings.Replace("7 (sh) S 1 77 7 0 -1"+statTail, " 987654 ", " -1 ", 1), false},
		"a kernel that tells no more of it": {strings.Replace("7 (sh) S 1 77 7 0 -1"+statTail, " 18446744073709551615 1\n", "\n", 1), true},
	} {
		t.Run(name, func(t *testing.T) {
			if st, ok := parseStat([]byte(tt.raw)); ok != tt.ok || ok && st != want {
				t.Errorf("%+v, %v", st, ok)
			}
		})
	}
}

// A process chooses its own name.
func FuzzParseStat(f *testing.F) {
	f.Add([]byte("sh"))
	f.Add([]byte(") Z 1 1"))
	f.Fuzz(func(t *testing.T, name []byte) {
		_, _ = parseStat(name)
		raw := fmt.Appendf(nil, "7 (%s) S 1 77 7 0 -1%s", name, statTail)
		if st, ok := parseStat(raw); !ok || st.group != 77 || st.start != 987654 {
			t.Errorf("%q: %+v, %v", raw, st, ok)
		}
		if i := bytes.LastIndexByte(raw, ')'); i > 0 {
			_, _ = parseStat(raw[:i+len(name)%20])
		}
	})
}

func TestACensusFindsUsByOurGroup(t *testing.T) {
	var c census
	groups := map[int]string{syscall.Getpgrp(): "us"}
	for range 3 {
		u := c.take(groups)["us"]
		if u.processes < 1 || u.memory < 1<<20 {
			t.Errorf("%+v", u)
		}
	}
	if len(c.known) < 1 || len(c.known) > 1<<16 {
		t.Errorf("%d processes are known", len(c.known))
	}
}

func BenchmarkCensus(b *testing.B) {
	var c census
	for b.Loop() {
		c.take(nil)
	}
}

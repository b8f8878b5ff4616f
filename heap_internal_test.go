package causeway

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestASmallHeapMayGrowToTheFloorAndALargeOneDoubles(t *testing.T) {
	const mb = 1 << 20
	tests := []struct {
		name              string
		live, roots, want uint64 // want is up to where the heap may grow
	}{
		{"a small heap grows to the floor", 4 * mb, 0, 32 * mb},
		{"what the collector counts besides the heap does not make it more", 4 * mb, 3 * mb, 32 * mb},
		{"a heap of next to nothing counts as a megabyte", 0, 0, 32 * mb},
		{"a heap of half the floor doubles", 16 * mb, 0, 32 * mb},
		{"a large heap doubles", 1 << 40, 0, 2 << 40},
		{"many stacks leave no less than Go itself would", 8 * mb, 64 * mb, 80 * mb},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			percent := uint64(percentFor(tt.live, tt.roots, 32*mb))
			live := max(tt.live, mb)
			goal := live + (live+tt.roots)*percent/100 // Go's own sum (gcController.commit)
			if goal > tt.want || goal < tt.want-mb {
				t.Errorf("with GOGC=%d it may grow to %d bytes, want %d", percent, goal, tt.want)
			}
		})
	}
}

func TestTheCollectorFollowsWhatIsAlive(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	defer keepHeapFloor(1 << 30)()
	percent := func() uint64 {
		s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	until := func(what string, ok func(uint64) bool) {
		t.Helper()
		for range 500 {
			runtime.GC()
			if ok(percent()) {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("%s: still %d%%", what, percent())
	}
	until("a small heap", func(p uint64) bool { return p > 1000 })
	held := make([]byte, 300<<20)
	until("a larger one", func(p uint64) bool { return p < 400 })
	runtime.KeepAlive(held)
	until("small again", func(p uint64) bool { return p > 1000 })
}

func TestWhoSetsTheCollectorIsLeftAlone(t *testing.T) {
	t.Setenv("GOGC", "70")
	defer keepHeapFloor(1 << 30)()
	runtime.GC()
	time.Sleep(50 * time.Millisecond)
	s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(s)
	if p := s[0].Value.Uint64(); p > 400 {
		t.Errorf("%d%%", p)
	}
}

package causeway

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestASmallHeapMayGrowToTheFloorAndALargeOneDoubles(t *testing.T) {
	const floor = 32 << 20
	for live, want := range map[uint64]int{0: 3100, 1 << 20: 3100, 2 << 20: 1500, 8 << 20: 300, 16 << 20: 100, 1 << 40: 100} {
		if got := percentFor(live, floor); got != want {
			t.Errorf("%d bytes alive: %d%%, not %d%%", live, got, want)
		}
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

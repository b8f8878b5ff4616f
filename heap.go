package causeway

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// heapFloor is up to where the heap of a program that ends in Main may grow before it is collected, in
// bytes. A small server holds 2 or 3 MB, for which Go collects at every 4 MB: hundreds of times a second
// under load, each time with all its goroutines to look at.
const heapFloor = 32 << 20

// keepHeapFloor sets the collector's percentage anew after each collection, so that the heap may grow to
// floor bytes, or to twice of what is alive where that is more. It leaves the collector alone where GOGC
// or GOMEMLIMIT says what is wanted. After stop it does so no more.
func keepHeapFloor(floor uint64) (stop func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	var stopped atomic.Bool
	// What Go adds its percentage to, and by what: the heap, by all of the three.
	scanned := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	now := 100
	type collected struct{ _ *int } // with a pointer, for tiny objects share their finalizer's fate
	var after func(*collected)
	after = func(c *collected) {
		if stopped.Load() {
			return
		}
		metrics.Read(scanned)
		live := scanned[0].Value.Uint64()
		roots := scanned[1].Value.Uint64() + scanned[2].Value.Uint64()
		// Setting it stops the world: not for every small difference.
		if p := percentFor(live, roots, floor); p < now*3/4 || p > now*4/3 {
			debug.SetGCPercent(p)
			now = p
		}
		runtime.SetFinalizer(c, after)
	}
	runtime.SetFinalizer(new(collected), after)
	return func() { stopped.Store(true) }
}

// percentFor is the GOGC with which live bytes may grow to floor, and at least double, where the collector
// counts stacks and globals, the roots, as if they were to be collected too.
func percentFor(live, roots, floor uint64) int {
	live = max(live, 1<<20)
	if live >= floor/2 {
		return 100
	}
	return max(100, int((floor-live)*100/(live+roots)))
}

package awake

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestAKeeperSleepsWhenNothingComesAndWakesWhenSomethingDoes(t *testing.T) {
	k := start(t)
	for range 2 {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 1000 {
					k.Working(1)
				}
			})
		}
		wg.Wait()
		if k.asleep.Load() {
			t.Fatal("it is asleep while there is something to do")
		}
		for !k.asleep.Load() { // it ends, or the test does by its limit
			time.Sleep(nap)
		}
	}
}

func TestNoKeeperIsNoTrouble(t *testing.T) {
	var k *Keeper
	k.Working(1)
	k.Stop()
}

func TestAKeeperStepsAsideForWhoNeedsAllProcessors(t *testing.T) {
	if !canNap {
		t.Skip("nothing is kept here")
	}
	atWork(t, func() {
		for pass(true) { // the next of these may begin in a moment when others have the machine
		}
	})
	for !pass(false) {
	}
}

func TestWithOneProcessorItIsNotTaken(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var ran atomic.Int64
	k := start(t)
	k.Working(1)
	began := time.Now()
	for time.Since(began) < 10*nap {
		ran.Add(1)
		runtime.Gosched()
	}
	// Were it taken, there would be one turn for each nap.
	if ran.Load() < 1000 {
		t.Errorf("%d turns in 10 naps", ran.Load())
	}
}

func start(t *testing.T) *Keeper {
	t.Helper()
	k := Start()
	if canNap != (k != nil) {
		t.Fatalf("Start is %v", k)
	}
	if k == nil {
		t.Skip("nothing is kept here")
	}
	t.Cleanup(k.Stop)
	return k
}

// atWork calls f while all processors are worked on.
func atWork(t *testing.T, f func()) {
	t.Helper()
	var over atomic.Bool
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) + 1 {
		wg.Go(func() {
			for !over.Load() {
			}
		})
	}
	f()
	over.Store(true)
	wg.Wait()
}

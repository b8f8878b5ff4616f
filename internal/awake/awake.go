// Package awake spares a process that mostly waits the cost of waking threads of Go's runtime.
//
// The runtime has a thread that looks after the others (sysmon). When nothing runs it goes to sleep, and the
// next system call wakes it; then it looks around every 20 µs until nothing runs again. And whenever there is
// something to run and a processor that is idle, another thread is woken to look for more. A process that waits
// twice for every request, for a client and for a program behind it, pays for that at each step: almost half of
// the CPU that a call through causeway expose takes on a machine with two, and a tenth of its time.
//
// Neither happens while something runs, and to the runtime a goroutine runs that sleeps in a system call which it
// was not told of. A [Keeper] has one, which takes one of the runtime's processors out of service for it: only
// while there are requests, and while the others are enough. See docs/decisions/0015-awake.md for the figures.
package awake

import (
	"runtime"
	"sync/atomic"
	"time"
)

const (
	// nap is how long the goroutine sleeps at a time. The runtime would interrupt one that runs for 10 ms.
	nap = 8 * time.Millisecond
	// patience is for how many naps without a request it goes on: about a second.
	patience = 125
	// What of one CPU the process may take, in hundredths, and how many requests it may work on at a time, for the
	// goroutine to go on; and for how long it leaves the processor alone when there is more.
	enough  = 85
	crowd   = 4
	respite = 4 * nap
)

// A Keeper keeps one of the runtime's processors occupied while there are requests, for a second after, and only
// while there are few at a time and the process takes less than 85 % of one CPU. The nil Keeper does nothing.
type Keeper struct {
	busy    atomic.Bool // there was a request since the last nap
	crowded atomic.Bool // there were more than a few at a time since then
	asleep  atomic.Bool
	wake    chan struct{}
	stop    chan struct{}
}

// Start starts the goroutine that sleeps. It belongs into programs, not into libraries. Start returns nil where a
// goroutine cannot sleep unknown to the runtime.
func Start() *Keeper {
	if !canNap {
		return nil
	}
	k := &Keeper{wake: make(chan struct{}, 1), stop: make(chan struct{})}
	k.asleep.Store(true)
	go k.keep()
	return k
}

// Working says that there is a request, and how many there are with it. It costs next to nothing, and may be called
// by many at once.
func (k *Keeper) Working(n int) {
	if k == nil {
		return
	}
	if !k.busy.Load() { // to write what all processors read costs more than to read it
		k.busy.Store(true)
	}
	if n > crowd && !k.crowded.Load() {
		k.crowded.Store(true)
	}
	if k.asleep.Load() && k.asleep.CompareAndSwap(true, false) {
		k.wake <- struct{}{} // there is room: the goroutine takes it before it is asleep again
	}
}

// Stop ends the goroutine, within a tenth of a second. It may be called once.
func (k *Keeper) Stop() {
	if k != nil {
		close(k.stop)
	}
}

func (k *Keeper) keep() {
	for {
		select {
		case <-k.wake:
		case <-k.stop:
			return
		}
		occupies := true
		for idle := 0; idle < patience; idle++ {
			occupies = pass(occupies) && !k.crowded.Swap(false)
			if k.busy.Swap(false) {
				idle = 0
			}
			select {
			case <-k.stop:
				return
			default:
			}
		}
		k.asleep.Store(true)
	}
}

// pass lets time pass, occupying a processor or not, and reports whether the process can do with the others.
func pass(occupy bool) bool {
	began, took := time.Now(), cpuTime()
	// With one processor nothing else would run. There may be fewer now than there were: the runtime adapts.
	if occupy && runtime.GOMAXPROCS(0) > 1 {
		sleep(nap)
		// Otherwise the goroutine would have run for all its naps together, and be interrupted.
		runtime.Gosched()
	} else {
		time.Sleep(respite)
	}
	return (cpuTime()-took)*100 < time.Since(began)*enough
}

package mcphttp

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

type counted struct{ times atomic.Int32 }

func (c *counted) overdue() { c.times.Add(1) }

func TestWhatTakesTooLongIsOverdueOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &watch{grain: 10 * time.Millisecond}
		var p, quick place
		var slow, fast counted
		w.add(&p, &slow, 100*time.Millisecond)
		w.add(&quick, &fast, 100*time.Millisecond)
		w.remove(&quick)
		time.Sleep(99 * time.Millisecond)
		if n := slow.times.Load(); n != 0 {
			t.Errorf("overdue %d times before its time", n)
		}
		time.Sleep(21 * time.Millisecond) // two grains
		if n := slow.times.Load(); n != 1 {
			t.Errorf("overdue %d times, want once", n)
		}
		time.Sleep(time.Second)
		w.again(&p, 50*time.Millisecond)
		time.Sleep(75 * time.Millisecond)
		if n := slow.times.Load(); n != 2 {
			t.Errorf("overdue %d times after being given more time, want twice in all", n)
		}
		w.remove(&p)
		w.remove(&p)
		w.again(&p, time.Millisecond)
		time.Sleep(time.Second)
		if n := fast.times.Load(); n != 0 {
			t.Errorf("what was removed in time was overdue %d times", n)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.armed || w.first != nil {
			t.Error("the watch goes on with nothing to look after")
		}
	})
}

func TestAWatchIsSharedByManyCalls(t *testing.T) {
	w := &watch{grain: time.Millisecond}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				var p place
				c := new(counted)
				w.add(&p, c, time.Millisecond)
				w.again(&p, time.Microsecond)
				w.remove(&p)
				if n := c.times.Load(); n > 2 {
					t.Errorf("overdue %d times", n)
				}
			}
		})
	}
	wg.Wait()
	if w.first != nil {
		t.Error("something was left in the list")
	}
}

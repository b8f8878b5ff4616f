package mcphttp

import (
	"net/http"
	"sync"
	"time"
)

// A watch looks after everything that may take too long: calls at work, bodies
// being read, answers being written. A timer or a deadline for each would cost a
// call several times what the call itself costs; here a call pays for a place in a
// list, and one timer, which stands still while the list is empty, looks at all
// of them once in a grain. What is due is therefore done up to two grains late.
//
// The zero value must be given a grain. All methods may be called concurrently.
type watch struct {
	grain time.Duration

	mu     sync.Mutex
	first  *place
	passes uint64 // the clock: grains that have passed while something was watched
	timer  *time.Timer
	armed  bool
}

// A place in the list. It belongs to one thing, and is in the list at most once.
type place struct {
	prev, next *place
	of         watched
	due        uint64 // in passes; 0 is never
	held       bool
}

// watched is what a watch looks after.
type watched interface {
	// overdue is called when the time is up, once, with the watch locked: it must
	// not wait for anything.
	overdue()
}

// grainOf is how exact a watch has to be for durations like these.
func grainOf(durations ...time.Duration) time.Duration {
	grain := 250 * time.Millisecond
	for _, d := range durations {
		if d > 0 {
			grain = min(grain, d/8)
		}
	}
	return max(grain, time.Millisecond)
}

// after is the pass at which d has certainly gone by. w.mu is held.
func (w *watch) after(d time.Duration) uint64 {
	return w.passes + uint64((d+w.grain-1)/w.grain) + 1
}

// add looks after what, which is overdue when d has passed. remove must follow.
func (w *watch) add(p *place, what watched, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p.of, p.due, p.held = what, w.after(d), true
	p.prev, p.next = nil, w.first
	if w.first != nil {
		w.first.prev = p
	}
	w.first = p
	if w.armed {
		return
	}
	w.armed = true
	if w.timer == nil {
		w.timer = time.AfterFunc(w.grain, w.pass)
	} else {
		w.timer.Reset(w.grain)
	}
}

// again gives what is still looked after another d.
func (w *watch) again(p *place, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.held {
		p.due = w.after(d)
	}
}

// remove ends it. When it returns, overdue is not being called and will not be.
func (w *watch) remove(p *place) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !p.held {
		return
	}
	p.held = false
	if p.prev != nil {
		p.prev.next = p.next
	} else {
		w.first = p.next
	}
	if p.next != nil {
		p.next.prev = p.prev
	}
	p.prev, p.next, p.of = nil, nil, nil
}

// pass is one look at everything.
func (w *watch) pass() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first == nil {
		w.armed = false
		return
	}
	w.passes++
	for p := w.first; p != nil; p = p.next {
		if p.due != 0 && p.due <= w.passes {
			p.due = 0
			p.of.overdue()
		}
	}
	w.timer.Reset(w.grain)
}

// cancelCalls ends the calls at work.
func (w *watch) cancelCalls(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p := w.first; p != nil; p = p.next {
		if c, ok := p.of.(*call); ok {
			c.cancel(cause)
		}
	}
}

// long ago, as a deadline, makes a read or write that is waiting fail at once.
var longAgo = time.Unix(1, 0)

// A transfer is a request's body being read, or an answer being written: its connection
// gets a deadline only when the time is up.
type transfer struct {
	place
	rc     *http.ResponseController
	writes bool
	late   bool // guarded by the watch
}

func (t *transfer) setDeadline(at time.Time) {
	if t.writes {
		_ = t.rc.SetWriteDeadline(at)
	} else {
		_ = t.rc.SetReadDeadline(at)
	}
}

func (t *transfer) overdue() {
	t.late = true
	t.setDeadline(longAgo)
}

// start gives a transfer d. done must follow.
func (w *watch) start(t *transfer, d time.Duration) *transfer {
	w.add(&t.place, t, d)
	return t
}

// done ends it, and leaves the connection without a deadline.
func (w *watch) done(t *transfer) {
	w.remove(&t.place)
	if t.late {
		t.setDeadline(time.Time{})
	}
}

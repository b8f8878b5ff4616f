package mcphttp

import (
	"sync"
)

// A queue holds what waits for one reader: a GET stream, a subscription, a
// WebSocket. Senders never wait; a queue that grows over its bounds is broken
// off, and its reader with it. One goroutine takes, any number put.
type queue struct {
	maxLen, maxBytes int
	wake             chan struct{} // has room for one signal

	mu     sync.Mutex
	items  []event
	bytes  int
	closed bool // no more is taken in
	broken bool // closed because the reader was too slow
}

func (h *Handler) newQueue() *queue {
	return &queue{maxLen: h.opts.QueueLength, maxBytes: h.opts.QueueBytes, wake: make(chan struct{}, 1)}
}

// put adds an event. It reports false when the queue takes no more.
func (q *queue) put(ev event) bool {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false
	}
	if len(q.items) >= q.maxLen || (q.bytes+len(ev.data) > q.maxBytes && len(q.items) > 0) {
		q.closed, q.broken = true, true
		q.items, q.bytes = nil, 0
		q.mu.Unlock()
		q.signal()
		return false
	}
	q.items = append(q.items, ev)
	q.bytes += len(ev.data)
	q.mu.Unlock()
	q.signal()
	return true
}

// take returns everything that waits, and whether the queue is over: closed, so that
// nothing comes after this. There may be one signal for both.
func (q *queue) take() (evs []event, over bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	evs = q.items
	q.items, q.bytes = nil, 0
	return evs, q.closed
}

// close lets the reader finish what is queued and then end.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}

func (q *queue) isBroken() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.broken
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

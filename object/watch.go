package object

import (
	"github.com/causeway-mcp/causeway/store"
)

// watchers calls a kind's OnUpdate for one object, in order and after durability.
type watchers struct {
	queue   []observed
	running bool
}

type observed struct {
	pending store.Pending
	state   []byte
}

// maxObserved is how far an observer may lag before it misses states in between; it gets the newest always.
const maxObserved = 1024

// watch has OnUpdate called with the state once p is durable.
func (l *live) watch(p store.Pending, s *seen) {
	if l.def == nil || l.def.onUpdate == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w := &l.watched
	if len(w.queue) >= maxObserved {
		w.queue = w.queue[:copy(w.queue, w.queue[1:])]
	}
	w.queue = append(w.queue, observed{p, s.json})
	if !w.running {
		w.running = l.host.background(l.observe)
	}
}

// observe runs until the queue is empty.
func (l *live) observe() {
	defer l.pin()()
	for {
		l.mu.Lock()
		if len(l.watched.queue) == 0 {
			l.watched = watchers{}
			l.mu.Unlock()
			return
		}
		next := l.watched.queue[0]
		l.watched.queue = l.watched.queue[1:]
		l.mu.Unlock()
		if l.await(l.host.ctx, next.pending) == nil {
			l.callObserver(next.state)
		}
	}
}

func (l *live) callObserver(state []byte) {
	defer func() {
		if r := recover(); r != nil {
			l.host.log.Error("object: OnUpdate panicked", "kind", l.id.Kind, "panic", r)
		}
	}()
	l.def.onUpdate(l.host.ctx, l.id.ID, state)
}

package object

import (
	"context"

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
	told    bool
}

// maxObserved is how far an observer may lag before it misses states in between; it gets the newest always.
const maxObserved = 1024

// watch has OnUpdate called with the state once p is durable.
func (l *live) watch(p store.Pending, s *seen, told bool) {
	if l.def == nil || l.def.onUpdate == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w := &l.watched
	if len(w.queue) >= maxObserved {
		w.queue = w.queue[:copy(w.queue, w.queue[1:])]
	}
	w.queue = append(w.queue, observed{p, s.json, told})
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
			l.callObserver(next.state, next.told)
		}
	}
}

type toldKey struct{}

// Told tells a kind's OnUpdate, by its context, that the kind's Tell had something told of the state: Options.Deliver
// gets that, also after a crash.
func Told(ctx context.Context) bool { told, _ := ctx.Value(toldKey{}).(bool); return told }

func (l *live) callObserver(state []byte, told bool) {
	defer func() {
		if r := recover(); r != nil {
			l.host.log.Error("object: OnUpdate panicked", "kind", l.id.Kind, "panic", r)
		}
	}()
	ctx := l.host.ctx
	if told {
		ctx = context.WithValue(ctx, toldKey{}, true)
	}
	l.def.onUpdate(ctx, l.id.ID, state)
}

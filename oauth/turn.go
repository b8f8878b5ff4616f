package oauth

import (
	"context"
	"sync"
)

// turns lets one goroutine at a time work on each of many ids. Its zero value is ready.
type turns struct {
	mu      sync.Mutex
	waiting map[string]*turn
}

type turn struct {
	free  chan struct{} // holds one value while nobody works
	users int
}

// take waits for the turn and returns how to leave it.
func (t *turns) take(ctx context.Context, id string) (leave func(), err error) {
	t.mu.Lock()
	if t.waiting == nil {
		t.waiting = map[string]*turn{}
	}
	own := t.waiting[id]
	if own == nil {
		own = &turn{free: make(chan struct{}, 1)}
		own.free <- struct{}{}
		t.waiting[id] = own
	}
	own.users++
	t.mu.Unlock()
	select {
	case <-own.free:
		return func() { own.free <- struct{}{}; t.forget(id, own) }, nil
	case <-ctx.Done():
		t.forget(id, own)
		return nil, ctx.Err()
	}
}

func (t *turns) forget(id string, own *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if own.users--; own.users == 0 {
		delete(t.waiting, id)
	}
}

package oauth

import (
	"context"
	"errors"
	"sync"
)

// turns lets few goroutines at a time work for each of many keys: one, unless each says
// otherwise. Its zero value is ready.
type turns[K comparable] struct {
	each int // at work at a time
	most int // at work and waiting; zero is any number

	mu    sync.Mutex
	taken map[K]*turn
}

type turn struct {
	work  chan struct{} // holds a value for each that is at work
	users int           // at work and waiting
}

// take waits for the turn and returns how to leave it. With too many there already it is
// errBusy at once.
func (t *turns[K]) take(ctx context.Context, key K) (leave func(), err error) {
	return t.within(ctx, key, t.most)
}

// takeNow is take for who does not wait: with a turn free it is theirs, else errBusy.
func (t *turns[K]) takeNow(ctx context.Context, key K) (leave func(), err error) {
	return t.within(ctx, key, max(1, t.each))
}

// errBusy says that nothing is begun because too much is under way.
var errBusy = errors.New("too many of these are under way")

func (t *turns[K]) within(ctx context.Context, key K, most int) (leave func(), err error) {
	own, err := t.join(key, most)
	if err != nil {
		return nil, err
	}
	select {
	case own.work <- struct{}{}:
		return func() { <-own.work; t.forget(key, own) }, nil
	case <-ctx.Done():
		t.forget(key, own)
		return nil, ctx.Err()
	}
}

func (t *turns[K]) join(key K, most int) (*turn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	own := t.taken[key]
	if own == nil {
		if t.taken == nil {
			t.taken = map[K]*turn{}
		}
		own = &turn{work: make(chan struct{}, max(1, t.each))}
		t.taken[key] = own
	}
	if most > 0 && own.users >= most {
		return nil, errBusy
	}
	own.users++
	return own, nil
}

func (t *turns[K]) forget(key K, own *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if own.users--; own.users == 0 {
		delete(t.taken, key)
	}
}

package storetest

import (
	"context"
	"fmt"
	"sync"

	"github.com/causeway-mcp/causeway/store"
)

// A Fault is what happens to one append.
type Fault int

const (
	// NoFault lets the append through.
	NoFault Fault = iota
	// LostRequest reports store.ErrUnknown; nothing was written.
	LostRequest
	// LostAnswer reports store.ErrUnknown; the write took effect.
	LostAnswer
	// Full reports store.ErrFull; nothing was written.
	Full
)

// Faulty is an engine whose appends fail and wait as a test says. Reads and
// records of their own go straight through.
type Faulty struct {
	store.Engine

	mu      sync.Mutex
	decide  func(w store.Write) Fault
	release chan struct{} // what appends wait for, nil for nothing
}

// NewFaulty returns e without any faults yet.
func NewFaulty(e store.Engine) *Faulty { return &Faulty{Engine: e} }

// Decide sets who says what happens to each append from now on; nil for no
// faults. decide is called in the order of the appends.
func (f *Faulty) Decide(decide func(w store.Write) Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.decide = decide
}

// Hold keeps all appends from now on under way until release is called: they
// may be durable but nobody is told. release may be called more than once.
func (f *Faulty) Hold() (release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := make(chan struct{})
	f.release = c
	return sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		close(c)
		if f.release == c {
			f.release = nil
		}
	})
}

// Append implements [store.Journal].
func (f *Faulty) Append(ctx context.Context, w store.Write) store.Pending {
	f.mu.Lock()
	fault := NoFault
	if f.decide != nil {
		fault = f.decide(w)
	}
	release := f.release
	f.mu.Unlock()
	if after, ok := w.After.(*faultyAppend); ok {
		if after.fault != nil { // it is not told yet, but what follows it fails as it does
			return f.tell(after.inner, after.fault, release)
		}
		w.After = after.inner
	}
	switch fault {
	case LostRequest:
		return f.tell(store.Settled(0, nil), fmt.Errorf("%w: the request was lost", store.ErrUnknown), release)
	case LostAnswer:
		return f.tell(f.Engine.Append(ctx, w), fmt.Errorf("%w: the answer was lost", store.ErrUnknown), release)
	case Full:
		return f.tell(store.Settled(0, nil), store.ErrFull, release)
	}
	return f.tell(f.Engine.Append(ctx, w), nil, release)
}

// tell returns an append that ends when inner has and release is closed.
func (f *Faulty) tell(inner store.Pending, fault error, release chan struct{}) store.Pending {
	p := &faultyAppend{inner: inner, fault: fault, done: make(chan struct{})}
	go func() {
		<-inner.Done()
		if release != nil {
			<-release
		}
		close(p.done)
	}()
	return p
}

type faultyAppend struct {
	inner store.Pending
	fault error
	done  chan struct{}
}

func (p *faultyAppend) Done() <-chan struct{} { return p.done }

func (p *faultyAppend) Wait(ctx context.Context) (store.Seq, error) {
	select {
	case <-p.done:
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: %w", store.ErrUnknown, ctx.Err())
	}
	if p.fault != nil {
		return 0, p.fault
	}
	return p.inner.Wait(ctx)
}

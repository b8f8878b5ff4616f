package object_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/object"
	"github.com/causeway-mcp/causeway/store"
	"github.com/causeway-mcp/causeway/store/local"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

type counter struct{ N int }

type bag struct {
	Things map[string]int
	List   []string
}

// open returns a host over engine, closed at the end of the test.
func open(t testing.TB, engine store.Engine, opts object.Options) *object.Host {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	if opts.Logger == nil {
		opts.Logger = quiet
	}
	h, err := object.NewHost(engine, &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, h) })
	return h
}

func shut(t testing.TB, h *object.Host) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := h.Close(ctx); err != nil {
		t.Errorf("close the host: %v", err)
	}
}

func register[S any](t testing.TB, h *object.Host, spec object.Spec[S]) *object.Kind[S] {
	t.Helper()
	if spec.Name == "" {
		spec.Name = "test"
	}
	k, err := object.Register(h, spec)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func openLocal(t testing.TB, dir string) *local.Store {
	t.Helper()
	s, err := local.Open(dir, &local.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func state[S any](t testing.TB, o *object.Object[S]) S {
	t.Helper()
	st, err := o.State(context.Background())
	must(t, err)
	return st
}

func exec[S any](t testing.TB, o *object.Object[S], query string, args ...any) {
	t.Helper()
	ctx, end := context.WithCancel(context.Background())
	defer end()
	db, err := o.SQL(ctx)
	must(t, err)
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func query[T, S any](t testing.TB, o *object.Object[S], text string, args ...any) (v T) {
	t.Helper()
	ctx, end := context.WithCancel(context.Background())
	defer end()
	db, err := o.SQL(ctx)
	must(t, err)
	if err := db.QueryRow(text, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func add(n int) func(*counter) error { return func(c *counter) error { c.N += n; return nil } }

// eventually waits for what happens in the background.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

// engine wraps another one and can hold back, refuse or lose appends.
type engine struct {
	store.Engine
	mu      sync.Mutex
	fail    func(store.Write) error // nil error lets it through
	hold    chan struct{}           // appends become durable when it is closed
	loads   int
	appends []store.Write
	shared  bool // says that it is not exclusive
}

func (e *engine) Exclusive() bool { return !e.shared && e.Engine.Exclusive() }

func (e *engine) Load(ctx context.Context, id store.ObjectID) iter.Seq2[store.Entry, error] {
	e.mu.Lock()
	e.loads++
	e.mu.Unlock()
	return e.Engine.Load(ctx, id)
}

func (e *engine) Append(ctx context.Context, w store.Write) store.Pending {
	e.mu.Lock()
	fail, hold := e.fail, e.hold
	logged := w
	logged.Entry.Body = append([]byte(nil), w.Entry.Body...)
	e.appends = append(e.appends, logged)
	e.mu.Unlock()
	if held, ok := w.After.(*heldPending); ok {
		w.After = held.Pending
	}
	if fail != nil {
		if err := fail(w); err != nil {
			return failedPending{err}
		}
	}
	p := e.Engine.Append(ctx, w)
	if hold == nil {
		return p
	}
	h := &heldPending{Pending: p, done: make(chan struct{})}
	go func() {
		<-hold
		<-p.Done()
		close(h.done)
	}()
	return h
}

func (e *engine) set(fn func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	fn()
}

type failedPending struct{ err error }

func (p failedPending) Done() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}
func (p failedPending) Wait(context.Context) (store.Seq, error) { return 0, p.err }

type heldPending struct {
	store.Pending
	done chan struct{}
}

func (p *heldPending) Done() <-chan struct{} { return p.done }
func (p *heldPending) Wait(ctx context.Context) (store.Seq, error) {
	select {
	case <-p.done:
		return p.Pending.Wait(ctx)
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: %w", store.ErrUnknown, ctx.Err())
	}
}

var errDisk = errors.New("the disk is away")

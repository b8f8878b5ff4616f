package table

import (
	"context"
	"iter"
	"strings"
	"time"
)

// heartbeat is how often a watcher hears that nothing is missing; twice as
// often as promised, so that a busy machine keeps the promise.
const heartbeat = 500 * time.Millisecond

// A Feed is an engine as Watch sees it; T is what is yielded.
type Feed[T any] interface {
	// Changes returns up to n changes after since. All changes up to upto are
	// among them. If there are none, wait is closed when there may be more.
	Changes(since uint64, n int) (changes []Change, upto uint64, wait <-chan struct{}, err error)
	// Value returns what to yield for the change, or false if a newer change
	// of the same record will follow.
	Value(ctx context.Context, c Change) (T, bool, error)
	// List yields every present record.
	List(ctx context.Context, prefix string) iter.Seq2[T, error]
	// Heartbeat makes the value that says that nothing is missing up to rev.
	Heartbeat(rev uint64) T
}

// Watch yields the changes under prefix after revision since; 0 for all that is
// present and then its changes.
func Watch[T any](ctx context.Context, prefix string, since uint64, feed Feed[T]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		w := watcher[T]{ctx: ctx, prefix: prefix, since: since, feed: feed, yield: yield}
		if since == 0 && !w.list() {
			return
		}
		w.follow()
	}
}

type watcher[T any] struct {
	ctx    context.Context
	prefix string
	since  uint64
	feed   Feed[T]
	yield  func(T, error) bool
	beat   time.Time // of the last heartbeat
}

func (w *watcher[T]) fail(err error) {
	var none T
	w.yield(none, err)
}

// list yields the present. What changes meanwhile comes again as a change.
func (w *watcher[T]) list() bool {
	_, now, _, err := w.feed.Changes(^uint64(0), 0)
	if err != nil {
		w.fail(err)
		return false
	}
	for v, err := range w.feed.List(w.ctx, w.prefix) {
		if !w.yield(v, err) || err != nil {
			return false
		}
	}
	w.since = now
	w.beat = time.Now()
	return w.yield(w.feed.Heartbeat(now), nil)
}

func (w *watcher[T]) follow() {
	timer := time.NewTimer(heartbeat)
	defer timer.Stop()
	for {
		changes, upto, wait, err := w.feed.Changes(w.since, 256)
		if err == nil {
			err = w.ctx.Err()
		}
		if err != nil {
			w.fail(err)
			return
		}
		if !w.pass(changes) {
			return
		}
		w.since = max(w.since, upto)
		if time.Since(w.beat) >= heartbeat {
			if !w.yield(w.feed.Heartbeat(w.since), nil) {
				return
			}
			w.beat = time.Now()
		}
		if len(changes) > 0 {
			continue
		}
		timer.Reset(time.Until(w.beat.Add(heartbeat)))
		select {
		case <-w.ctx.Done():
		case <-wait:
		case <-timer.C:
		}
	}
}

func (w *watcher[T]) pass(changes []Change) bool {
	for _, c := range changes {
		if !strings.HasPrefix(c.Key, w.prefix) {
			continue
		}
		v, ok, err := w.feed.Value(w.ctx, c)
		if err != nil {
			w.fail(err)
			return false
		}
		if ok && !w.yield(v, nil) {
			return false
		}
	}
	return true
}

package mcphttp

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/store"
)

// lateReads holds back what was read once it is armed, until it is let go.
type lateReads struct {
	store.Records
	armed     atomic.Bool
	read, let chan bool
}

func (l *lateReads) GetCached(ctx context.Context, key string) (store.Record, time.Duration, error) {
	r, age, err := l.Records.GetCached(ctx, key)
	if l.armed.CompareAndSwap(true, false) {
		l.read <- true
		<-l.let
	}
	return r, age, err
}

// A request that has found its session's record just before the session is ended does not
// bring the session back: its call could not be cancelled, nor its stream ended, by anyone.
func TestASessionThatEndsWhileARequestComesStaysEnded(t *testing.T) {
	for name, do := range map[string]func(w *wire) *answered{
		"a call":   func(w *wire) *answered { return w.call("1", "ping", "") },
		"a stream": func(w *wire) *answered { return w.do("GET", "") },
	} {
		t.Run(name, func(t *testing.T) {
			records := &lateReads{Records: newRecords(t), read: make(chan bool), let: make(chan bool)}
			s := newServer(nil)
			_, url := serve(t, s, &Options{Records: records})
			w := (&wire{t: t, url: url}).initialize(version20251125)
			records.armed.Store(true)
			got := make(chan *answered, 1)
			go func() { got <- do(w) }()
			<-records.read
			if a := w.do("DELETE", ""); a.status != 204 {
				t.Errorf("DELETE: %d %s", a.status, a.body)
			}
			close(records.let)
			if a := <-got; a.status != 404 {
				t.Errorf("%d %s", a.status, a.body)
			}
			host, _ := hostOf(s)
			if n := len(host.sessions.all()); n != 0 {
				t.Errorf("%d sessions", n)
			}
		})
	}
}

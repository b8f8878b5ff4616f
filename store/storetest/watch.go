package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/store"
)

func watchMissesNothing(t *testing.T, e store.Engine) {
	for i := range 50 {
		put(t, e, fmt.Sprintf("w/old%d", i), "old", 0)
	}
	put(t, e, "x/other", "not watched", 0)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() { churn(t, e, fmt.Sprintf("w/%d-", w), 100) })
	}
	end := make(chan store.Revision, 1)
	go func() {
		writers.Wait()
		rev, err := e.Put(t.Context(), "x/end", nil, 0, nil)
		if err != nil {
			t.Error(err)
		}
		end <- rev
	}()
	got := make(map[string]string)
	var last, until store.Revision
	listed := false
	for c, err := range e.Watch(ctx, "w/", 0) {
		must(t, err)
		if listed && c.Record.Revision < last {
			t.Fatalf("revision %d after %d", c.Record.Revision, last)
		}
		switch {
		case c.Heartbeat:
			listed = true
			last = c.Record.Revision
		case c.Deleted:
			delete(got, c.Record.Key)
		default:
			got[c.Record.Key] = string(c.Record.Value)
		}
		if listed {
			last = c.Record.Revision
		}
		if until == 0 {
			select {
			case until = <-end:
			default:
			}
		}
		if until != 0 && c.Heartbeat && last >= until {
			break
		}
	}
	want := make(map[string]string)
	for r, err := range e.List(t.Context(), "w/") {
		must(t, err)
		want[r.Key] = string(r.Value)
	}
	if !maps.Equal(got, want) {
		t.Errorf("the watcher knows %d records, there are %d", len(got), len(want))
	}
}

// churn creates, changes and deletes records.
func churn(t testing.TB, e store.Records, prefix string, n int) {
	for i := range n {
		key := fmt.Sprint(prefix, i%7)
		r, err := e.Get(t.Context(), key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Error(err)
			return
		}
		if r.Revision != 0 && i%5 == 0 {
			err = e.Delete(t.Context(), key, r.Revision)
		} else {
			_, err = e.Put(t.Context(), key, fmt.Append(nil, i), r.Revision, nil)
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
}

// collect returns the first n changes after since that are no heartbeats.
func collect(t testing.TB, e store.Records, prefix string, since store.Revision, n int) []store.Change {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var changes []store.Change
	if n == 0 {
		return nil
	}
	for c, err := range e.Watch(ctx, prefix, since) {
		must(t, err)
		if c.Heartbeat {
			continue
		}
		if changes = append(changes, c); len(changes) == n {
			break
		}
	}
	return changes
}

func watchResumes(t *testing.T, e store.Engine) {
	a := put(t, e, "r/a", "1", 0)
	b := put(t, e, "r/b", "2", 0)
	must(t, e.Delete(t.Context(), "r/a", a))
	c := put(t, e, "r/c", "3", 0)
	changes := collect(t, e, "r/", b, 2)
	if !changes[0].Deleted || changes[0].Record.Key != "r/a" {
		t.Errorf("first comes %+v, want the deletion of r/a", changes[0])
	}
	if changes[1].Deleted || changes[1].Record.Revision != c || string(changes[1].Record.Value) != "3" {
		t.Errorf("then comes %+v, want r/c", changes[1])
	}
	changes = collect(t, e, "r/", a, 3)
	if changes[0].Record.Revision != b {
		t.Errorf("after the first revision comes %+v, want r/b", changes[0])
	}
}

func watchRefusesUnknownRevision(t *testing.T, e store.Engine) {
	rev := put(t, e, "k", "v", 0)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, err := range e.Watch(ctx, "", rev+1_000_000) {
		wantErr(t, err, store.ErrCompacted)
		return
	}
	t.Error("the watch ended without an error")
}

func watchBeats(t *testing.T, e store.Engine) {
	rev := put(t, e, "k", "v", 0)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	beats := 0
	var err error
	for c, e := range e.Watch(ctx, "", rev) {
		if e != nil {
			err = e
			break
		}
		if !c.Heartbeat || c.Record.Revision < rev {
			t.Fatalf("got %+v, want a heartbeat at %d or later", c, rev)
		}
		if beats++; beats == 2 {
			cancel()
		}
	}
	wantErr(t, err, context.Canceled)
}

func watchSeesExpiry(t *testing.T, e store.Engine) {
	rev, err := e.Put(t.Context(), "k", nil, 0, &store.PutOptions{TTL: 30 * time.Millisecond})
	must(t, err)
	changes := collect(t, e, "", rev, 1)
	if !changes[0].Deleted || changes[0].Record.Key != "k" || changes[0].Record.Revision <= rev {
		t.Errorf("got %+v, want the deletion of k after %d", changes[0], rev)
	}
	wantNone(t, e, "k")
}

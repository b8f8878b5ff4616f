package mcphttp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/store"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// lasting is a store that, for all it says, outlives the process.
type lasting struct{ store.Records }

// deploy serves with one handler after the other over the same store.
func deploy(t *testing.T, records store.Records, add func(*mcp.Server)) (*Handler, *tasker) {
	s := plainServer()
	add(s)
	h := NewHandler(func(*http.Request) *mcp.Server { return s }, &Options{Records: records, Logger: slog.New(slog.DiscardHandler)})
	if err := h.Restore(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return h, newTasker(t, serveHTTP(t, h))
}

// drain gives a handler next to no time.
func drain(h *Handler) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	return h.Shutdown(ctx)
}

func storedStatus(t *testing.T, h *Handler, id string) *taskRecord {
	t.Helper()
	rec, _, err := h.storedTask(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func TestATaskUnderWayAtADeployRunsAgainInTheNextProcess(t *testing.T) {
	for _, tc := range []struct {
		name string
		work func(ctx context.Context, causes chan<- error, late <-chan struct{}) (string, error)
		cut  bool // Shutdown says that a handler did not return
	}{
		{"one that returns when its context ends", func(ctx context.Context, causes chan<- error, _ <-chan struct{}) (string, error) {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return "", ctx.Err()
		}, false},
		{"one that returns a result all the same", func(ctx context.Context, causes chan<- error, _ <-chan struct{}) (string, error) {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return "made up in a hurry", nil
		}, false},
		{"one that panics", func(ctx context.Context, causes chan<- error, _ <-chan struct{}) (string, error) {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			panic("no context, no work")
		}, false},
		{"one that does not listen", func(ctx context.Context, causes chan<- error, late <-chan struct{}) (string, error) {
			context.AfterFunc(ctx, func() { causes <- context.Cause(ctx) })
			<-late
			return "late", nil
		}, true},
		{"one that waits for an answer", func(ctx context.Context, causes chan<- error, _ <-chan struct{}) (string, error) {
			context.AfterFunc(ctx, func() { causes <- context.Cause(ctx) })
			return askName(ctx)
		}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			records := lasting{newRecords(t)}
			var runs atomic.Int32
			causes, late := make(chan error, 1), make(chan struct{})
			add := func(s *mcp.Server) {
				addTask(s, "work", TaskOptions{}, func(ctx context.Context) (string, error) {
					if n := runs.Add(1); n > 1 {
						return fmt.Sprint("in run ", n), nil
					}
					return tc.work(ctx, causes, late)
				})
			}
			h, k := deploy(t, records, add)
			id := k.create("work", "")
			waitFor(t, "the first run", func() bool { return runs.Load() == 1 })
			if err := drain(h); (err != nil) != tc.cut {
				t.Errorf("Shutdown: %v", err)
			}
			if err := <-causes; err == nil || !strings.Contains(err.Error(), "shutting down") {
				t.Errorf("the handler was told %v", err)
			}
			if rec := storedStatus(t, h, id); rec.over() || rec.Owner != "" {
				t.Errorf("it was left as %+v", rec)
			}
			_, next := deploy(t, records, add)
			if got := next.until(id, "completed", "failed"); got.text() != "in run 2" {
				t.Errorf("%+v %+v", got, got.Error)
			}
			close(late)
			h.tasks.wait()
			if got := next.get(id); got.text() != "in run 2" {
				t.Errorf("a late result counted: %+v", got)
			}
		})
	}
}

func TestATaskThatEndsWithinTheDrainIsDone(t *testing.T) {
	records := lasting{newRecords(t)}
	proceed := make(chan struct{})
	h, k := deploy(t, records, func(s *mcp.Server) {
		addTask(s, "work", TaskOptions{}, func(context.Context) (string, error) { <-proceed; return "done", nil })
	})
	id := k.create("work", "")
	ended := make(chan error)
	go func() { ended <- h.Shutdown(context.Background()) }()
	<-h.draining
	close(proceed)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if rec := storedStatus(t, h, id); rec.Status != taskCompleted {
		t.Errorf("%+v", rec)
	}
}

func TestATaskThatWaitsForAnAnswerHoldsUpNoDrain(t *testing.T) {
	h, k := deploy(t, lasting{newRecords(t)}, func(s *mcp.Server) { addTask(s, "ask", TaskOptions{}, askName) })
	id := k.create("ask", "")
	k.asking(id, 1)
	if err := h.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	_, next := deploy(t, h.opts.Records, func(s *mcp.Server) { addTask(s, "ask", TaskOptions{}, askName) })
	// The process before may still be seen asking: what is answered to that, while the task is taken over, is
	// not taken in, and the task asks again under another key.
	for range 2000 {
		open := next.get(id)
		if open.Status == "completed" || open.Status == "failed" {
			break
		}
		for key := range open.Asks {
			next.update(id, fmt.Sprintf(`{%q:{"action":"accept","content":{"name":"Ada"}}}`, key))
		}
		time.Sleep(5 * time.Millisecond)
	}
	if got := next.until(id, "completed", "failed"); got.text() != "accept Ada" {
		t.Errorf("%+v", got)
	}
}

func TestATaskThatCannotRunAgainFailsAtADeployWithTheReason(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		records    store.Records
		opts       TaskOptions
	}{
		{"of one run", "OneRun", lasting{newRecords(t)}, TaskOptions{OneRun: true}},
		{"kept in memory", "memory", newRecords(t), TaskOptions{}},
		{"kept in a part of memory", "memory", store.Namespace(newRecords(t), "x/"), TaskOptions{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			add := func(s *mcp.Server) { addTask(s, "work", tc.opts, forever) }
			h, k := deploy(t, tc.records, add)
			id := k.create("work", "")
			if err := drain(h); err != nil {
				t.Error(err)
			}
			_, next := deploy(t, tc.records, add)
			got := next.get(id)
			if got.Status != "failed" || got.Error == nil || !strings.Contains(got.Error.Message, "shut down") || !strings.Contains(got.Error.Message, tc.want) {
				t.Errorf("%+v %+v", got, got.Error)
			}
		})
	}
}

// Giving up is for tasks that end their process, and a deploy is nothing that they did.
func TestDeploysDoNotCountAsFailures(t *testing.T) {
	records := lasting{newRecords(t)}
	var runs atomic.Int32
	add := func(s *mcp.Server) {
		addTask(s, "work", TaskOptions{}, func(ctx context.Context) (string, error) {
			if runs.Add(1) > 3*MaxTaskRuns {
				return "at last", nil
			}
			return forever(ctx)
		})
	}
	h, k := deploy(t, records, add)
	id := k.create("work", "")
	for n := int32(1); n <= 3*MaxTaskRuns; n++ {
		waitFor(t, "a run", func() bool { return runs.Load() == n })
		if err := drain(h); err != nil {
			t.Fatal(err)
		}
		h, k = deploy(t, records, add)
	}
	if got := k.until(id, "completed", "failed"); got.text() != "at last" {
		t.Errorf("%+v %+v", got, got.Error)
	}
}

func TestACancelledTaskStaysCancelledAtADeploy(t *testing.T) {
	h, k := deploy(t, lasting{newRecords(t)}, func(s *mcp.Server) {
		addTask(s, "work", TaskOptions{}, func(ctx context.Context) (string, error) {
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), errTaskCancelled) {
				t.Errorf("the handler was told %v", context.Cause(ctx))
			}
			return "", nil
		})
	})
	id := k.create("work", "")
	k.cancelTask(id)
	if err := drain(h); err != nil {
		t.Error(err)
	}
	if rec := storedStatus(t, h, id); rec.Status != taskCancelled {
		t.Errorf("%+v", rec)
	}
}

// A store that does not take the hand-over leaves what a kill would leave.
func TestAHandOverThatCannotBeWrittenIsAKill(t *testing.T) {
	records := &refusing{Records: newRecords(t)}
	var runs atomic.Int32
	add := func(s *mcp.Server) {
		addTask(s, "work", TaskOptions{}, func(ctx context.Context) (string, error) {
			if runs.Add(1) > 1 {
				return "done", nil
			}
			return forever(ctx)
		})
	}
	h, k := deploy(t, records, add)
	id := k.create("work", "")
	waitFor(t, "the first run", func() bool { return runs.Load() == 1 })
	records.refuse.Store(true)
	_ = drain(h)
	records.refuse.Store(false)
	if rec := storedStatus(t, h, id); rec.Status != taskWorking || rec.Owner != h.tasks.owner {
		t.Errorf("%+v", rec)
	}
	_, next := deploy(t, records, add)
	if got := next.until(id, "completed", "failed"); got.text() != "done" {
		t.Errorf("%+v %+v", got, got.Error)
	}
}

// refusing writes no tasks at times.
type refusing struct {
	store.Records
	refuse atomic.Bool
}

func (r *refusing) Put(ctx context.Context, key string, value []byte, prev store.Revision, opts *store.PutOptions) (store.Revision, error) {
	if r.refuse.Load() && strings.HasPrefix(key, taskPrefix) {
		return 0, errMood
	}
	return r.Records.Put(ctx, key, value, prev, opts)
}

package mcphttp

import (
	"context"
	"encoding/json"
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

// twoProcesses are two handlers with servers of their own and a store in common.
func twoProcesses(t *testing.T, add func(*mcp.Server)) (first, second *Handler, a, b *tasker) {
	records := newRecords(t)
	serveOne := func() (*Handler, *tasker) {
		s := plainServer()
		add(s)
		h, url := serve(t, s, &Options{Records: records, Logger: slog.New(slog.DiscardHandler)})
		return h, newTasker(t, url)
	}
	first, a = serveOne()
	second, b = serveOne()
	return first, second, a, b
}

// die makes a handler's process look dead to others: its lease runs out.
func die(t *testing.T, h *Handler) {
	h.tasks.leaseMu.Lock()
	h.tasks.resign()
	h.tasks.leaseMu.Unlock()
	if err := h.opts.Records.Delete(context.Background(), leasePrefix+h.tasks.owner, store.AnyRevision); err != nil {
		t.Fatal(err)
	}
}

func TestAnotherProcessAnswersForATask(t *testing.T) {
	causes := make(chan error, 1)
	_, _, a, b := twoProcesses(t, func(s *mcp.Server) {
		addTask(s, "ask", TaskOptions{}, askName)
		addTask(s, "work", TaskOptions{}, func(ctx context.Context) (string, error) {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return "", nil
		})
	})
	id := a.create("ask", "")
	key := b.asking(id, 1)[0]
	if u := b.update(id, fmt.Sprintf(`{%q:{"action":"accept","content":{"name":"Ada"}}}`, key)); u.msg.Error != nil {
		t.Fatal(u.body)
	}
	if got := b.get(id); len(got.Asks) != 0 {
		t.Errorf("acknowledged before it was applied: %+v", got)
	}
	if got := b.until(id, "completed"); got.text() != "accept Ada" {
		t.Errorf("%+v", got)
	}
	id = a.create("work", "")
	if c := b.cancelTask(id); c.msg.Error != nil {
		t.Fatal(c.body)
	}
	if got := a.get(id); got.Status != "cancelled" {
		t.Errorf("%+v", got)
	}
	if err := <-causes; !errors.Is(err, errTaskCancelled) {
		t.Errorf("the handler was told %v", err)
	}
}

func TestATaskOfOneRunWhoseProcessDiedFailsWithTheReason(t *testing.T) {
	first, second, a, b := twoProcesses(t, func(s *mcp.Server) {
		addTask(s, "work", TaskOptions{OneRun: true}, forever)
		addTask(s, "ask", TaskOptions{OneRun: true}, askName)
	})
	reads := map[string]func(id string){
		"by a get":    func(string) {},
		"by a cancel": func(id string) { b.cancelTask(id) },
		"by an update": func(id string) {
			b.update(id, `{"causeway-ask-1":{"action":"decline"}}`)
		},
	}
	ids := map[string]string{}
	for name := range reads {
		ids[name] = a.create("ask", "")
		a.asking(ids[name], 1)
	}
	die(t, first)
	for name, read := range reads {
		read(ids[name])
		got := b.get(ids[name])
		if got.Status != "failed" || got.Error == nil || got.Error.Code != -32603 || !strings.Contains(got.Error.Message, "server that worked on this task is gone") || got.Asks != nil {
			t.Errorf("found %s: %+v %+v", name, got, got.Error)
		}
	}
	// The dead come back: what was said of their tasks stands.
	for _, task := range first.tasks.all() {
		first.tasks.reread(context.Background(), task.id)
	}
	waitFor(t, "handlers to be told", func() bool { return len(first.tasks.all()) == 0 })
	for name, id := range ids {
		if got := b.get(id); got.Status != "failed" || !strings.Contains(got.Message, "gone") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if second.tasks.resign != nil {
		t.Error("a process without tasks keeps a lease")
	}
}

func TestALeaseIsKeptWhileThereAreTasks(t *testing.T) {
	s := plainServer()
	addTask(s, "work", TaskOptions{}, forever)
	records := newRecords(t)
	h := NewHandler(func(*http.Request) *mcp.Server { return s }, &Options{Records: records})
	h.tasks.leaseTTL, h.tasks.renewEvery = 80*time.Millisecond, 10*time.Millisecond
	k := newTasker(t, serveHTTP(t, h))
	leased := func() bool {
		_, err := records.Get(context.Background(), leasePrefix+h.tasks.owner)
		return err == nil
	}
	for range 2 {
		id := k.create("work", "")
		if !leased() {
			t.Fatal("a task without a lease")
		}
		revision := func() store.Revision {
			r, _ := records.Get(context.Background(), leasePrefix+h.tasks.owner)
			return r.Revision
		}
		at := revision()
		waitFor(t, "a renewal", func() bool { return revision() > at })
		k.cancelTask(id)
		waitFor(t, "the lease to be given up", func() bool { return !leased() })
	}
}

func TestShutdownFailsRunningTasks(t *testing.T) {
	release := make(chan struct{})
	records := newRecords(t)
	s := plainServer()
	causes := make(chan error, 1)
	addTask(s, "obedient", TaskOptions{}, func(ctx context.Context) (string, error) {
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return "", ctx.Err()
	})
	addTask(s, "parked", TaskOptions{}, askName)
	addTask(s, "stubborn", TaskOptions{}, func(context.Context) (string, error) { <-release; return "late", nil })
	other := plainServer()
	addTask(other, "x", TaskOptions{}, quick)
	_, url := serve(t, other, &Options{Records: records})
	later := newTasker(t, url)

	h := NewHandler(func(*http.Request) *mcp.Server { return s }, &Options{Records: records})
	k := newTasker(t, serveHTTP(t, h))
	ids := map[string]string{}
	for _, name := range []string{"obedient", "parked", "stubborn"} {
		ids[name] = k.create(name, "")
	}
	k.asking(ids["parked"], 1)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := h.Shutdown(ctx); err == nil {
		t.Error("Shutdown did not say that a handler is still at work")
	}
	if err := <-causes; !errors.Is(err, errTaskShutdown) {
		t.Errorf("the handler was told %v", err)
	}
	for name, id := range ids {
		if got := later.until(id, "completed", "failed", "cancelled"); got.Status != "failed" || !strings.Contains(got.Error.Message, "shut down") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	close(release)
	if err := h.Shutdown(context.Background()); err != nil {
		t.Errorf("everyone has returned: %v", err)
	}
	if got := later.get(ids["stubborn"]); got.Status != "failed" {
		t.Errorf("a late result counted: %+v", got)
	}
	if err := h.tasks.enter(&task{h: h}); err == nil {
		t.Error("a task was taken on after Shutdown")
	}
	for r, err := range records.List(context.Background(), leasePrefix) {
		t.Errorf("the lease is still there: %s %v", r.Key, err)
	}
}

func TestAStoreThatFailsIsNoSecretAndNoPanic(t *testing.T) {
	s := plainServer()
	proceed := make(chan struct{})
	addTask(s, "work", TaskOptions{}, func(context.Context) (string, error) { <-proceed; return "done", nil })
	mem := store.NewMemory()
	_, url := serve(t, s, &Options{Records: mem, Logger: slog.New(slog.DiscardHandler)})
	k := newTasker(t, url)
	id := k.create("work", "")
	_ = mem.Close()
	for name, a := range map[string]*answered{
		"create": k.tool("work", ""), "get": k.send("tasks/get", id, fmt.Sprintf(`"taskId":%q`, id)), "cancel": k.cancelTask(id),
	} {
		if a.code() != -32603 || strings.Contains(a.body, "closed") || !strings.Contains(a.body, "the task store is not available") {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	close(proceed)
}

func TestAnUnknownOutcomeOfAWriteDoesNotAskTwice(t *testing.T) {
	r := &taskRecord{Status: taskWorking}
	ask := taskAsk{Method: methodElicit, Request: json.RawMessage(`{}`)}
	if !r.ask(1, ask) || r.Status != taskInputRequired {
		t.Fatalf("%+v", r)
	}
	if r.ask(1, ask) {
		t.Error("asked twice")
	}
	if !r.answer(map[string]json.RawMessage{askKey(1): json.RawMessage(`{"action":"decline"}`)}) || r.Status != taskWorking {
		t.Fatalf("%+v", r)
	}
	if r.ask(1, ask) {
		t.Error("asked again after the answer")
	}
	if !r.ask(3, ask) || r.ask(2, ask) {
		t.Error("numbers only go up")
	}
	r.end(taskCancelled, "")
	if r.ask(4, ask) || r.answer(map[string]json.RawMessage{askKey(3): json.RawMessage(`{"action":"decline"}`)}) {
		t.Error("a change after the end")
	}
}

func TestTimeOnATaskNeverGoesBack(t *testing.T) {
	later := wireNow().Add(time.Hour)
	r := &taskRecord{Updated: later}
	if r.touch(); !r.Updated.Equal(later) {
		t.Errorf("%v became %v", later, r.Updated)
	}
}

// A moodyStore writes tasks as its mood says.
type moodyStore struct {
	store.Records
	writes atomic.Int64
}

var errMood = errors.New("not now")

func (m *moodyStore) Put(ctx context.Context, key string, value []byte, prev store.Revision, opts *store.PutOptions) (store.Revision, error) {
	if !strings.HasPrefix(key, taskPrefix) || prev == 0 {
		return m.Records.Put(ctx, key, value, prev, opts)
	}
	switch m.writes.Add(1) % 3 {
	case 0: // took effect, but nobody knows
		_, _ = m.Records.Put(ctx, key, value, prev, opts)
		return 0, store.ErrUnknown
	case 1: // did not, and nobody knows
		return 0, store.ErrUnknown
	}
	return m.Records.Put(ctx, key, value, prev, opts)
}

func TestTasksGetThroughWritesOfUnknownOutcome(t *testing.T) {
	s := plainServer()
	addTask(s, "ask", TaskOptions{}, func(ctx context.Context) (string, error) {
		var all []string
		for range 4 {
			name, err := askName(ctx)
			if err != nil {
				return "", err
			}
			all = append(all, name)
		}
		return strings.Join(all, ", "), nil
	})
	_, url := serve(t, s, &Options{Records: &moodyStore{Records: newRecords(t)}})
	k := newTasker(t, url)
	id := k.create("ask", "")
	for i := range 4 {
		want := askKey(i + 1)
		waitFor(t, want, func() bool { return k.get(id).Asks[want].Method != "" })
		if a := k.update(id, fmt.Sprintf(`{%q:{"action":"accept","content":{"name":"%d"}}}`, want, i)); a.msg.Error != nil {
			t.Fatal(a.body)
		}
		if _, open := k.get(id).Asks[want]; open {
			t.Errorf("%s was answered and is open", want)
		}
	}
	if got := k.until(id, "completed", "failed"); got.text() != "accept 0, accept 1, accept 2, accept 3" {
		t.Errorf("%+v", got)
	}
}

// A sulkingStore refuses to write the end of a task for a while.
type sulkingStore struct {
	store.Records
	refusals atomic.Int64
}

func (s *sulkingStore) Put(ctx context.Context, key string, value []byte, prev store.Revision, opts *store.PutOptions) (store.Revision, error) {
	if strings.HasPrefix(key, taskPrefix) && strings.Contains(string(value), `"s":"completed"`) && s.refusals.Add(-1) >= 0 {
		return 0, errMood
	}
	return s.Records.Put(ctx, key, value, prev, opts)
}

func TestAnOutcomeIsWrittenOnceTheStoreIsBack(t *testing.T) {
	s := plainServer()
	addTask(s, "quick", TaskOptions{}, quick)
	records := &sulkingStore{Records: newRecords(t)}
	records.refusals.Store(3)
	_, url := serve(t, s, &Options{Records: records, Logger: slog.New(slog.DiscardHandler)})
	k := newTasker(t, url)
	if got := k.until(k.create("quick", ""), "completed", "failed"); got.text() != "done" {
		t.Errorf("%+v", got)
	}
}

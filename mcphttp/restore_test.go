package mcphttp

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-mcp/causeway/store"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestWhatHappensBeforeAClientIsBackIsKeptForIt(t *testing.T) {
	for _, tc := range []struct {
		name, subscribe, want string
		happen                func(t *testing.T, s *mcp.Server)
	}{
		{"an update of what it subscribed to", "test://clock", "notifications/resources/updated", func(t *testing.T, s *mcp.Server) {
			if err := s.ResourceUpdated(t.Context(), &mcp.ResourceUpdatedNotificationParams{URI: "test://clock"}); err != nil {
				t.Fatal(err)
			}
		}},
		{"a change of the tools", "", "notifications/tools/list_changed", func(_ *testing.T, s *mcp.Server) {
			s.AddTool(&mcp.Tool{Name: "new", InputSchema: map[string]any{"type": "object"}}, nil)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			records := newRecords(t)
			one, _ := newBusyServer(t)
			_, url := serve(t, one, &Options{Records: records})
			w := (&wire{t: t, url: url}).initialize(version20251125)
			if tc.subscribe != "" {
				w.call("1", "resources/subscribe", fmt.Sprintf(`"uri":%q`, tc.subscribe))
			}
			get := w.stream("GET", "")
			primed := <-get.events
			if primed.id == "" || primed.data != "" {
				t.Fatalf("the stream begins with %+v, want an id to resume from", primed)
			}
			get.close()

			two, handled := newBusyServer(t)
			h, second := serve(t, two, &Options{Records: records})
			if err := h.Restore(t.Context(), two); err != nil {
				t.Fatal(err)
			}
			if tc.subscribe != "" {
				if got, want := <-handled, "subscribe test://clock "+w.sid; got != want {
					t.Errorf("the new process's SubscribeHandler saw %q, want %q", got, want)
				}
			}
			tc.happen(t, two)
			host, err := hostOf(two)
			if err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the event to be kept", func() bool {
				s := host.sessions.get(w.sid)
				if s == nil {
					return false
				}
				s.listen.mu.Lock()
				defer s.listen.mu.Unlock()
				return s.listen.seq > 0
			})
			w.url = second
			back := w.stream("GET", "", "Last-Event-ID", primed.id)
			if ev := back.next(); !strings.Contains(ev.data, tc.want) {
				t.Errorf("missed: %+v", ev)
			}
		})
	}
}

// A listing reads every session there is, which may be a million.
func TestOneListingFindsWhoIsToHear(t *testing.T) {
	for _, tc := range []struct {
		name    string
		restore bool
	}{{"at Restore", true}, {"at the first request", false}} {
		t.Run(tc.name, func(t *testing.T) {
			records := &counting{Records: newRecords(t)}
			one, _ := newBusyServer(t)
			_, url := serve(t, one, &Options{Records: records})
			subscribed := (&wire{t: t, url: url}).initialize(version20251125)
			subscribed.call("1", "resources/subscribe", `"uri":"test://clock"`)
			listened := (&wire{t: t, url: url}).initialize(version20251125)
			get := listened.stream("GET", "")
			<-get.events
			get.close()
			idle := (&wire{t: t, url: url}).initialize(version20251125)

			records.sessions.Store(0)
			two, _ := newBusyServer(t)
			h, second := serve(t, two, &Options{Records: records})
			if tc.restore {
				if err := h.Restore(t.Context(), two); err != nil {
					t.Fatal(err)
				}
			}
			newTasker(t, second).send("tools/list", "", "")
			if n := records.sessions.Load(); n != 1 {
				t.Errorf("%d listings, want 1", n)
			}
			host, err := hostOf(two)
			if err != nil {
				t.Fatal(err)
			}
			for sid, want := range map[string]bool{subscribed.sid: true, listened.sid: true, idle.sid: false} {
				if awake := host.sessions.get(sid) != nil; awake != want {
					t.Errorf("awake: %v, want %v (subscribed, listened, idle are %s, %s, %s)", awake, want, subscribed.sid, listened.sid, idle.sid)
				}
			}
		})
	}
}

// counting counts the listings of all sessions.
type counting struct {
	store.Records
	sessions atomic.Int32
}

func (c *counting) List(ctx context.Context, prefix string) iter.Seq2[store.Record, error] {
	if prefix == sessionPrefix {
		c.sessions.Add(1)
	}
	return c.Records.List(ctx, prefix)
}

func TestAStreamOfAnOlderEraIsNotPrimed(t *testing.T) {
	s, _ := newBusyServer(t)
	_, url := serve(t, s, nil)
	w := (&wire{t: t, url: url}).initialize(version20250618)
	w.call("1", "resources/subscribe", `"uri":"test://clock"`)
	get := w.stream("GET", "")
	waitFor(t, "the stream", func() bool {
		host, _ := hostOf(s)
		l := &host.sessions.get(w.sid).listen
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.out != nil
	})
	if err := s.ResourceUpdated(t.Context(), &mcp.ResourceUpdatedNotificationParams{URI: "test://clock"}); err != nil {
		t.Fatal(err)
	}
	if ev := get.next(); ev.data == "" {
		t.Errorf("its first event is %+v", ev)
	}
}

type baseKey struct{}

func TestATaskWhoseProcessDiedRunsAgain(t *testing.T) {
	var runs atomic.Int32
	calls := make(chan Caller, 10)
	first, second, a, b := twoProcesses(t, func(s *mcp.Server) {
		addTask(s, "work", TaskOptions{}, func(ctx context.Context) (string, error) {
			caller, _ := CallerOf(ctx)
			calls <- caller
			if runs.Add(1) == 1 {
				return forever(ctx)
			}
			return fmt.Sprint("by the second, in ", ctx.Value(baseKey{})), nil
		})
	})
	if err := second.Restore(context.WithValue(t.Context(), baseKey{}, "its context")); err != nil {
		t.Fatal(err)
	}
	b.send("tools/list", "", "") // it serves the server
	id := a.create("work", "")
	before := <-calls
	die(t, first)
	if got := b.until(id, "completed", "failed"); got.text() != "by the second, in its context" {
		t.Fatalf("%+v %+v", got, got.Error)
	}
	if after := <-calls; after != before || before.CallID != id {
		t.Errorf("the call was %+v, and is %+v", before, after)
	}
	// The dead come back, and have nothing to say.
	for _, task := range first.tasks.all() {
		first.tasks.reread(context.Background(), task.id)
	}
	waitFor(t, "the first to be told", func() bool { return len(first.tasks.all()) == 0 })
	if got := b.get(id); got.Status != "completed" {
		t.Errorf("%+v", got)
	}
}

func TestRestoreRunsTasksAgainThatNobodyAsksFor(t *testing.T) {
	var runs atomic.Int32
	add := func(s *mcp.Server) {
		addTask(s, "work", TaskOptions{}, func(ctx context.Context) (string, error) {
			if runs.Add(1) == 1 {
				return forever(ctx)
			}
			return "done", nil
		})
	}
	first, second, a, _ := twoProcesses(t, add)
	a.create("work", "")
	waitFor(t, "the first run", func() bool { return runs.Load() == 1 })
	die(t, first)
	s := second.getServer(nil)
	if err := second.Restore(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the second run", func() bool { return runs.Load() == 2 })
}

func TestARunAgainIsNotAskedWhatWasAnswered(t *testing.T) {
	answered := make(chan string, 10)
	first, _, a, b := twoProcesses(t, func(s *mcp.Server) {
		addTask(s, "work", TaskOptions{}, func(ctx context.Context) (string, error) {
			one, err := askName(ctx)
			if err != nil {
				return "", err
			}
			answered <- one
			two, err := askName(ctx) // the same question, a second time
			return one + ", " + two, err
		})
	})
	b.send("tools/list", "", "")
	id := a.create("work", "")
	a.update(id, fmt.Sprintf(`{%q:{"action":"accept","content":{"name":"Ada"}}}`, a.asking(id, 1)[0]))
	<-answered
	old := a.asking(id, 1)[0]
	die(t, first)
	b.get(id)
	<-answered
	var key string
	waitFor(t, "the second question", func() bool { key = b.asking(id, 1)[0]; return key != old })
	b.update(id, fmt.Sprintf(`{%q:{"action":"accept","content":{"name":"Bob"}}}`, key))
	if got := b.until(id, "completed", "failed"); got.text() != "accept Ada, accept Bob" {
		t.Errorf("%+v %+v", got, got.Error)
	}
}

func TestARunAgainIsTheSameUsersAndScopes(t *testing.T) {
	records := newRecords(t)
	var runs atomic.Int32
	serveOne := func() (*Handler, *tasker) {
		s := plainServer()
		addTask(s, "work", TaskOptions{}, func(ctx context.Context) (string, error) {
			if runs.Add(1) == 1 {
				return forever(ctx)
			}
			token := auth.TokenInfoFromContext(ctx)
			return fmt.Sprint(token.UserID, token.Scopes, token.Extra["client_id"], token.Extra["secret"]), nil
		})
		h := NewHandler(servesOnly(s), &Options{Records: records})
		url := serveHTTP(t, signedInWith(h))
		return h, newTasker(t, url).by("alice")
	}
	first, a := serveOne()
	_, b := serveOne()
	b.send("tools/list", "", "")
	id := a.create("work", "")
	waitFor(t, "the first run", func() bool { return runs.Load() == 1 })
	die(t, first)
	if got := b.until(id, "completed", "failed"); got.text() != "alice[read write]app<nil>" {
		t.Errorf("%+v %+v", got.text(), got.Error)
	}
}

func TestATaskThatCannotRunAgainFailsWithTheReason(t *testing.T) {
	for _, tc := range []struct {
		name, why string
		second    func(s *mcp.Server)
	}{
		{"the tool is gone", "unknown tool", func(s *mcp.Server) { addTask(s, "other", TaskOptions{}, quick) }},
		{"the tool is no task's", "makes no task", func(s *mcp.Server) {
			addTask(s, "other", TaskOptions{}, quick)
			mcp.AddTool(s, &mcp.Tool{Name: "work"}, func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, any, error) {
				return nil, nil, nil
			})
		}},
		{"it asks before", "asks before", func(s *mcp.Server) {
			addTaskBefore(s)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := 0
			first, _, a, b := twoProcesses(t, func(s *mcp.Server) {
				if n++; n == 1 {
					addTask(s, "work", TaskOptions{}, forever)
				} else {
					tc.second(s)
				}
			})
			b.send("tools/list", "", "")
			id := a.create("work", "")
			die(t, first)
			if got := b.until(id, "completed", "failed"); got.Error == nil || !strings.Contains(got.Message, "gone") || !strings.Contains(got.Message, tc.why) {
				t.Errorf("%+v %+v", got, got.Error)
			}
		})
	}
}

func addTaskBefore(s *mcp.Server) {
	addTask(s, "work", TaskOptions{Before: func(ctx context.Context, _ *mcp.CallToolRequest) (context.Context, error) {
		_, err := askName(ctx)
		return ctx, err
	}}, quick)
}

func TestATaskThatKillsItsProcessIsGivenUp(t *testing.T) {
	records := newRecords(t)
	var runs atomic.Int32
	next := func() (*Handler, *tasker) {
		s := plainServer()
		addTask(s, "work", TaskOptions{}, func(ctx context.Context) (string, error) {
			runs.Add(1)
			return forever(ctx)
		})
		h, url := serve(t, s, &Options{Records: records})
		k := newTasker(t, url)
		k.send("tools/list", "", "")
		return h, k
	}
	h, k := next()
	id := k.create("work", "")
	for n := range MaxTaskRuns {
		waitFor(t, "the next run", func() bool { return runs.Load() == int32(n+1) })
		die(t, h)
		h, k = next()
		k.get(id)
	}
	if got := k.until(id, "failed"); !strings.Contains(got.Message, "gone") || runs.Load() != MaxTaskRuns {
		t.Errorf("after %d runs: %+v", runs.Load(), got)
	}
}

func servesOnly(s *mcp.Server) func(*http.Request) *mcp.Server {
	return func(*http.Request) *mcp.Server { return s }
}

// signedInWith is as, with more than a name in the token.
func signedInWith(h http.Handler) http.Handler {
	verify := func(_ context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		return &auth.TokenInfo{UserID: token, Expiration: time.Now().Add(time.Hour), Scopes: []string{"read", "write"},
			Extra: map[string]any{"client_id": "app", "secret": "upstream token"}}, nil
	}
	return auth.RequireBearerToken(verify, nil)(h)
}

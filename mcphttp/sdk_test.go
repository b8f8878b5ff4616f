package mcphttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// What we lean on without the SDK promising it. If a new SDK changes any of this,
// these tests say which.

func TestTheSDKsFactsAreFound(t *testing.T) {
	f, err := facts()
	if err != nil {
		t.Fatal(err)
	}
	if f.bare == nil || f.requestID == nil || f.logLevel == nil || f.empty == nil {
		t.Errorf("%+v", f)
	}
	if got := fmt.Sprintf("%T %T", f.requestID, f.logLevel); got != "mcp.idContextKey mcp.logLevelContextKey" {
		t.Errorf("the keys have other names now: %s (harmless, if everything else passes)", got)
	}
}

func TestAPassiveSessionHasNoGoroutineAndIsNotListed(t *testing.T) {
	s := newServer(nil)
	before := runtime.NumGoroutine()
	var kept []*mcp.ServerSession
	for range 100 {
		ss, err := connectPassive(s, "id", &mcp.ServerSessionState{InitializeParams: &mcp.InitializeParams{ProtocolVersion: version20251125}})
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, ss)
	}
	waitFor(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before+2 })
	for range s.Sessions() {
		t.Error("listed")
	}
	if kept[0].ID() != "id" || kept[0].InitializeParams().ProtocolVersion != version20251125 {
		t.Error("a passive session does not know who it is")
	}
}

func TestIntrospectionRunsNothingOfTheApplication(t *testing.T) {
	var ran atomic.Int32
	s := newServer(&mcp.ServerOptions{InitializedHandler: func(context.Context, *mcp.InitializedRequest) { ran.Add(1) }})
	s.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			ran.Add(1)
			return next(ctx, method, req)
		}
	})
	h, err := hostOf(s)
	if err != nil {
		t.Fatal(err)
	}
	if string(h.info) != `{"name":"test","version":"1.0.0"}` || len(h.versions) != 5 {
		t.Errorf("%s %v", h.info, h.versions)
	}
	if _, err := h.tools.rebuild(nil); err != nil {
		t.Fatal(err)
	}
	if n := ran.Load(); n != 0 {
		t.Errorf("the application's code ran %d times", n)
	}
}

func TestAServerIsCapturedOnceHoweverOftenItIsMounted(t *testing.T) {
	var n atomic.Int32
	s := newServer(nil)
	s.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			if method == methodCallTool {
				n.Add(1)
			}
			return next(ctx, method, req)
		}
	})
	for range 3 {
		_, url := serve(t, s, nil)
		w := &wire{t: t, url: url}
		if a := w.modern("1", "tools/call", "add", `"name":"add","arguments":{"a":1,"b":2}`); a.status != 200 {
			t.Fatal(a.body)
		}
	}
	if n.Load() != 3 {
		t.Errorf("middleware ran %d times for 3 calls", n.Load())
	}
	one, _ := hostOf(s)
	two, _ := hostOf(s)
	if one != two {
		t.Error("two hosts for one server")
	}
}

func TestAServerThatIsGoneIsForgotten(t *testing.T) {
	count := func() (n int) {
		hosts.Range(func(any, any) bool { n++; return true })
		return n
	}
	before := count()
	for range 50 {
		s := newServer(nil)
		if _, err := hostOf(s); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "servers to be collected", func() bool { runtime.GC(); return count() <= before+5 })
}

// The same server on the SDK's own transports: nothing of ours may get in between.
func TestTheSameServerInMemoryBesideUs(t *testing.T) {
	s, _ := newBusyServer(t)
	_, url := serve(t, s, nil)
	w := (&wire{t: t, url: url}).initialize(version20251125)
	get := w.stream("GET", "")

	st, ct := mcp.NewInMemoryTransports()
	ss, err := s.Connect(context.Background(), st, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ss.Close()
	progress, changed := make(chan float64, 10), make(chan struct{}, 10)
	c := mcp.NewClient(&mcp.Implementation{Name: "c", Version: "1"}, &mcp.ClientOptions{
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept"}, nil
		},
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) { progress <- r.Params.Progress },
		ToolListChangedHandler:      func(context.Context, *mcp.ToolListChangedRequest) { changed <- struct{}{} },
	})
	cs, err := c.Connect(context.Background(), ct, &mcp.ClientSessionOptions{ProtocolVersion: version20251125})
	if err != nil {
		t.Fatal(err)
	}
	defer cs.Close()
	p := &mcp.CallToolParams{Name: "speak", Arguments: map[string]any{}}
	p.SetProgressToken("t")
	if res, err := cs.CallTool(context.Background(), p); err != nil || text(t, res) != "spoken" {
		t.Fatalf("%v %v", res, err)
	}
	if a, b := <-progress, <-progress; a != 1 || b != 2 {
		t.Errorf("progress %v %v", a, b)
	}
	if r, err := ss.Elicit(context.Background(), &mcp.ElicitParams{Message: "?"}); err != nil || r.Action != "accept" {
		t.Errorf("%v %v", r, err)
	}
	s.RemoveTools("speak")
	select {
	case <-changed:
	case <-time.After(5 * time.Second):
		t.Error("the in-memory client did not hear of the changed list")
	}
	if ev := get.next(); !strings.Contains(ev.data, "list_changed") {
		t.Errorf("ours: %s", ev.data)
	}
}

func TestSessionsOfOursAreNotListed(t *testing.T) {
	s := newServer(nil)
	_, url := serve(t, s, nil)
	w := (&wire{t: t, url: url}).initialize(version20251125)
	w.stream("GET", "")
	n := 0
	for ss := range s.Sessions() {
		n++
		if ss.ID() == w.sid {
			t.Error("our session is listed")
		}
		if _, err := ss.Elicit(context.Background(), &mcp.ElicitParams{Message: "?"}); err == nil {
			t.Error("the internal session could be asked")
		}
		if err := ss.Log(context.Background(), &mcp.LoggingMessageParams{Level: "error", Data: "x"}); err != nil {
			t.Errorf("a notification to the internal session: %v", err)
		}
	}
	if n > 1 {
		t.Errorf("%d sessions are listed", n)
	}
}

type pongParams struct{ mcp.ParamsBase }
type pongResult struct{ mcp.ResultBase }

func TestCustomMethodsNeedAConnection(t *testing.T) {
	s := newServer(nil)
	mcp.AddReceivingCustomMethod(s, "acme/pong", func(context.Context, *mcp.ServerSession, *pongParams) (*pongResult, error) {
		return &pongResult{}, nil
	})
	_, url := serve(t, s, nil)
	if a := (&wire{t: t, url: url}).initialize(version20251125).call("1", "acme/pong", `"x":1`); a.code() != -32601 {
		t.Errorf("%s", a.body)
	}
	_, url = serve(t, s, &Options{ConnectionPerSession: true})
	if a := (&wire{t: t, url: url}).initialize(version20251125).call("1", "acme/pong", `"x":1`); a.code() != 0 {
		t.Errorf("with a connection: %s", a.body)
	}
}

func TestLaterMiddlewareIsNotSeen(t *testing.T) {
	s := newServer(nil)
	_, url := serve(t, s, nil)
	w := &wire{t: t, url: url}
	w.modern("1", "tools/list", "", "")
	s.AddReceivingMiddleware(func(mcp.MethodHandler) mcp.MethodHandler {
		return func(context.Context, string, mcp.Request) (mcp.Result, error) { return nil, errors.New("late") }
	})
	if a := w.modern("1", "tools/list", "", ""); a.code() != 0 {
		t.Errorf("%s", a.body)
	}
}

func TestAServerPerSessionNeedsAConnection(t *testing.T) {
	made := func(opts *Options) (answers [2]string) {
		var n atomic.Int32
		h := NewHandler(func(*http.Request) *mcp.Server {
			s := mcp.NewServer(&mcp.Implementation{Name: "n", Version: "1"}, nil)
			count := 0
			id := n.Add(1)
			mcp.AddTool(s, &mcp.Tool{Name: "count"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
				count++
				_ = id
				return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint(count)}}}, nil, nil
			})
			return s
		}, opts)
		w := (&wire{t: t, url: serveHTTP(t, h)}).initialize(version20251125)
		for i := range answers {
			answers[i] = w.call("1", "tools/call", `"name":"count"`).body
		}
		return answers
	}
	if got := made(nil); !strings.Contains(got[1], `"text":"1"`) {
		t.Errorf("%v", got)
	}
	if got := made(&Options{ConnectionPerSession: true}); !strings.Contains(got[1], `"text":"2"`) {
		t.Errorf("with a connection: %v", got)
	}
}

func TestTheSDKsKeepAliveEnds(t *testing.T) {
	s := newServer(&mcp.ServerOptions{KeepAlive: 5 * time.Millisecond})
	before := runtime.NumGoroutine()
	_, url := serve(t, s, nil)
	w := (&wire{t: t, url: url}).initialize(version20251125)
	http.DefaultClient.CloseIdleConnections()
	waitFor(t, "the keep-alive to end", func() bool { return runtime.NumGoroutine() < before+12 })
	if a := w.call("1", "tools/call", `"name":"add","arguments":{"a":1,"b":2}`); !strings.Contains(a.body, `{"sum":3}`) {
		t.Errorf("%s", a.body)
	}
}

func TestPingAsksTheClient(t *testing.T) {
	s := newServer(nil)
	mcp.AddTool(s, &mcp.Tool{Name: "ping"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		return nil, nil, req.Session.Ping(ctx, nil)
	})
	_, url := serve(t, s, nil)
	w := (&wire{t: t, url: url}).initialize(version20251125)
	st := w.stream("POST", request("1", "tools/call", `"name":"ping"`))
	var ask struct{ ID, Method string }
	if err := json.Unmarshal([]byte(st.next().data), &ask); err != nil || ask.Method != "ping" {
		t.Fatal(err, ask)
	}
	w.do("POST", fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"result":{}}`, ask.ID))
	if ev := st.next(); !strings.Contains(ev.data, `"result"`) || strings.Contains(ev.data, "isError") {
		t.Errorf("%s", ev.data)
	}
}

func TestAHandlersCloseDoesNotEndTheSession(t *testing.T) {
	s := newServer(nil)
	mcp.AddTool(s, &mcp.Tool{Name: "close"}, func(_ context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		return nil, nil, errors.Join(req.Session.Close(), req.Session.Wait())
	})
	_, url := serve(t, s, nil)
	w := (&wire{t: t, url: url}).initialize(version20251125)
	w.call("1", "tools/call", `"name":"close"`)
	if a := w.call("2", "tools/call", `"name":"add","arguments":{"a":1,"b":2}`); !strings.Contains(a.body, `{"sum":3}`) {
		t.Errorf("%s", a.body)
	}
}

func TestTheAgreedVersionDecides(t *testing.T) {
	s := newServer(nil)
	_, url := serve(t, s, nil)
	w := &wire{t: t, url: url}
	a := w.call("0", "initialize", `"protocolVersion":"2026-07-28","capabilities":{"elicitation":{}},"clientInfo":{"name":"w","version":"1"}`)
	l := &wire{t: t, url: url, sid: a.header.Get("Mcp-Session-Id")}
	st := l.stream("POST", request("1", "tools/call", `"name":"name"`))
	if ev := st.next(); !strings.Contains(ev.data, "elicitation/create") {
		t.Errorf("%s", ev.data)
	}
}

func TestHandlersSeeTheirOwnRequestsContext(t *testing.T) {
	type key struct{}
	s := newServer(nil)
	seen := make(chan any, 2)
	mcp.AddTool(s, &mcp.Tool{Name: "who"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		seen <- fmt.Sprint(ctx.Value(key{}), " ", req.Extra.Header.Get("X-Who"))
		return nil, nil, nil
	})
	h := NewHandler(func(*http.Request) *mcp.Server { return s }, nil)
	url := serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, r.Header.Get("X-Who"))))
	}))
	w := (&wire{t: t, url: url}).initialize(version20251125)
	w.call("1", "tools/call", `"name":"who"`, "X-Who", "now")
	if got := <-seen; got != "now now" {
		t.Errorf("%v", got)
	}
	w.modern("1", "tools/call", "who", `"name":"who"`, "X-Who", "then")
	if got := <-seen; got != "then then" {
		t.Errorf("%v", got)
	}
}

func TestASendWithoutACallIsAnErrorInTheModernEra(t *testing.T) {
	s := newServer(nil)
	kept := make(chan *mcp.ServerSession, 2)
	mcp.AddTool(s, &mcp.Tool{Name: "keep"}, func(_ context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		kept <- req.Session
		return nil, nil, nil
	})
	_, url := serve(t, s, nil)
	w := &wire{t: t, url: url}
	w.modern("1", "tools/call", "keep", `"name":"keep"`)
	modern := <-kept
	if err := modern.NotifyProgress(context.Background(), &mcp.ProgressNotificationParams{ProgressToken: "t"}); !errors.Is(err, ErrNoCall) {
		t.Errorf("%v", err)
	}
	// In a session it goes to the session's own stream, also from a handle kept while
	// the session slept.
	l := w.initialize(version20251125)
	get := l.stream("GET", "")
	l.call("1", "tools/call", `"name":"keep"`)
	if err := (<-kept).NotifyProgress(context.Background(), &mcp.ProgressNotificationParams{ProgressToken: "late"}); err != nil {
		t.Fatal(err)
	}
	if ev := get.next(); !strings.Contains(ev.data, `"late"`) {
		t.Errorf("%s", ev.data)
	}
}

func TestMessagesOfConcurrentCallsDoNotMix(t *testing.T) {
	s := newServer(nil)
	mcp.AddTool(s, &mcp.Tool{Name: "count"}, func(ctx context.Context, req *mcp.CallToolRequest, in struct {
		Who string `json:"who"`
	}) (*mcp.CallToolResult, any, error) {
		for range 5 {
			_ = req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: in.Who, Progress: 1})
			time.Sleep(time.Millisecond)
		}
		return nil, nil, nil
	})
	_, url := serve(t, s, nil)
	w := &wire{t: t, url: url}
	l := w.initialize(version20251125)
	done := make(chan string, 40)
	for i := range 20 {
		who := fmt.Sprintf("caller-%d-", i)
		check := func(a *answered) {
			if n := strings.Count(a.body, `"progressToken"`); n != 5 || strings.Count(a.body, who) != 5 {
				done <- fmt.Sprintf("%s: %s", who, a.body)
				return
			}
			done <- ""
		}
		go func() { check(l.call(fmt.Sprint(i), "tools/call", `"name":"count","arguments":{"who":"`+who+`"}`)) }()
		go func() { check(w.modern("1", "tools/call", "count", `"name":"count","arguments":{"who":"`+who+`"}`)) }()
	}
	for range 40 {
		if bad := <-done; bad != "" {
			t.Error(bad)
		}
	}
}

func TestLogLevels(t *testing.T) {
	s := newServer(nil)
	mcp.AddTool(s, &mcp.Tool{Name: "log"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		for _, l := range []mcp.LoggingLevel{"debug", "info", "warning"} {
			if err := req.Session.Log(ctx, &mcp.LoggingMessageParams{Level: l, Data: "said " + string(l)}); err != nil {
				return nil, nil, err
			}
		}
		return nil, nil, nil
	})
	_, url := serve(t, s, nil)
	w := &wire{t: t, url: url}
	if a := w.modern("1", "tools/call", "log", `"name":"log"`); strings.Contains(a.body, "said") {
		t.Errorf("logs without a level: %s", a.body)
	}
	body, hd := modernRequest("1", "tools/call", "log", `"name":"log"`, nil)
	body = strings.Replace(body, `"_meta":{`, `"_meta":{"io.modelcontextprotocol/logLevel":"info",`, 1)
	if a := w.do("POST", body, hd...); strings.Contains(a.body, "said debug") || !strings.Contains(a.body, "said info") || !strings.Contains(a.body, "said warning") {
		t.Errorf("at info: %s", a.body)
	}
	l := w.initialize(version20251125)
	l.call("1", "logging/setLevel", `"level":"warning"`)
	if a := l.call("2", "tools/call", `"name":"log"`); strings.Contains(a.body, "said info") || !strings.Contains(a.body, "said warning") {
		t.Errorf("at warning: %s", a.body)
	}
}

// Sending middleware of the application sees what its handlers send, in every era.
func TestSendingMiddlewareOfTheApplication(t *testing.T) {
	s, _ := newBusyServer(t)
	var seen atomic.Int32
	s.AddSendingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			if p, ok := req.GetParams().(*mcp.ProgressNotificationParams); ok {
				seen.Add(1)
				p.Message = "through middleware"
			}
			if method == methodElicit {
				seen.Add(1)
			}
			return next(ctx, method, req)
		}
	})
	_, url := serve(t, s, nil)
	w := &wire{t: t, url: url}
	l := w.initialize(version20251125)
	for name, a := range map[string]*answered{
		"legacy": l.call("1", "tools/call", `"name":"speak","arguments":{}`),
		"modern": w.modern("1", "tools/call", "speak", `"name":"speak","arguments":{}`),
	} {
		if strings.Count(a.body, "through middleware") != 2 || !strings.Contains(a.body, "spoken") {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	if seen.Load() != 4 {
		t.Errorf("seen %d", seen.Load())
	}
	r := roundOf(t, w.modern("1", "tools/call", "name", `"name":"name"`))
	if r.Asks[r.only()].Method != methodElicit || seen.Load() != 5 {
		t.Errorf("%+v, seen %d", r, seen.Load())
	}
	st := l.stream("POST", request("1", "tools/call", `"name":"name"`))
	for range 2 {
		var ask struct{ ID string }
		if err := json.Unmarshal([]byte(st.next().data), &ask); err != nil {
			t.Fatal(err)
		}
		l.do("POST", fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"result":{"action":"accept","content":{"name":"Ada"}}}`, ask.ID))
	}
	if ev := st.next(); !strings.Contains(ev.data, "Ada accept") {
		t.Errorf("%s", ev.data)
	}
}

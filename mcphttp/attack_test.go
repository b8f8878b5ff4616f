package mcphttp

// What an attacker of this package found, each as the attack it was: it must not
// work again.

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func heapMB() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

func (w *watch) size() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for p := w.first; p != nil; p = p.next {
		n++
	}
	return n
}

// 1. a refused subscriptions/listen stays in Handler.watch for ever, with its body.
func TestAttackRefusedListenLeaks(t *testing.T) {
	h, url := serve(t, newServer(nil), nil)
	w := &wire{t: t, url: url}
	pad := `"notifications":{"taskIds":5},"pad":"` + strings.Repeat("x", 3<<20) + `"`
	before := heapMB()
	for range 20 {
		a := w.modern("1", "subscriptions/listen", "", pad)
		if a.msg.Error == nil {
			t.Fatal(a.body)
		}
	}
	time.Sleep(200 * time.Millisecond)
	after := heapMB()
	if n := h.watch.size(); n != 0 {
		t.Errorf("%d calls leaked, heap %.0f → %.0f MB", n, before, after)
	}
}

// 2. nil results and panicking encoders on other goroutines end the process.
func crashServer() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	s.AddTool(&mcp.Tool{Name: "nil", InputSchema: map[string]any{"type": "object"}}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return nil, nil
	})
	s.AddTool(&mcp.Tool{Name: "boom", InputSchema: map[string]any{"type": "object"}}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return &mcp.CallToolResult{StructuredContent: boom{}}, nil
	})
	s.AddPrompt(&mcp.Prompt{Name: "nil"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) { return nil, nil })
	return s
}

type boom struct{}

func (boom) MarshalJSON() ([]byte, error) { panic("boom") }

func TestAttackCrashChild(t *testing.T) {
	mode := os.Getenv("ATTACK_CRASH")
	if mode == "" {
		t.Skip()
	}
	_, url := serve(t, crashServer(), nil)
	switch mode {
	case "ws-nil", "ws-nil-prompt":
		c, _, err := websocket.Dial(context.Background(), url, &websocket.DialOptions{Subprotocols: []string{"mcp"}})
		if err != nil {
			t.Fatal(err)
		}
		m := "tools/call"
		if mode == "ws-nil-prompt" {
			m = "prompts/get"
		}
		body, _ := modernRequest("1", m, "nil", `"name":"nil"`, nil)
		_ = c.Write(context.Background(), websocket.MessageText, []byte(body))
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_, b, err := c.Read(ctx)
		t.Logf("%s %v", b, err)
	case "batch-boom":
		w := (&wire{t: t, url: url}).initialize(version20250326)
		a := w.do("POST", `[`+request("1", "tools/call", `"name":"boom"`)+`,`+request("2", "ping", "")+`]`)
		t.Log(a.body)
	case "ws-boom":
		c := dial(t, url, version20251125)
		c.write(request("1", "tools/call", `"name":"boom"`))
		t.Log(c.read())
	}
	time.Sleep(200 * time.Millisecond)
}

func TestAttackCrash(t *testing.T) {
	for _, mode := range []string{"ws-nil", "ws-nil-prompt", "batch-boom", "ws-boom"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestAttackCrashChild$", "-test.v")
		cmd.Env = append(os.Environ(), "ATTACK_CRASH="+mode)
		out, err := cmd.CombinedOutput()
		if err != nil && strings.Contains(string(out), "\ngoroutine ") {
			i := strings.Index(string(out), "panic:")
			t.Errorf("%s ends the process: %s", mode, out[max(i, 0):min(max(i, 0)+200, len(out))])
		} else {
			t.Logf("%s: %v %s", mode, err, out)
		}
	}
}

// 3. a client that does not read its JSON answer keeps goroutine, answer and Shutdown for ever.
func TestAttackJSONReaderThatDoesNotRead(t *testing.T) {
	s := newServer(nil)
	big := strings.Repeat("x", 16<<20)
	s.AddTool(&mcp.Tool{Name: "big", InputSchema: map[string]any{"type": "object"}}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: big}}}, nil
	})
	h, url := serve(t, s, &Options{WriteTimeout: 200 * time.Millisecond, CallTimeout: time.Second, StreamAfter: 20 * time.Second})
	body, hd := modernRequest("1", "tools/call", "big", `"name":"big"`, nil)
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	for i := 0; i < len(hd); i += 2 {
		fmt.Fprintf(c, "%s: %s\r\n", hd[i], hd[i+1])
	}
	fmt.Fprintf(c, "\r\n%s", body)
	time.Sleep(3 * time.Second)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err = h.Shutdown(ctx)
	if err == nil {
		buf := make([]byte, 300)
		n, _ := c.Read(buf)
		t.Logf("%s", buf[:n])
	}
	if err != nil {
		buf := make([]byte, 4096)
		n, _ := c.Read(buf)
		t.Logf("%.300s", buf[:n])
		t.Errorf("3 s after the answer, with a WriteTimeout of 0.2 s and a CallTimeout of 1 s, the writer still stands: %v", err)
	}
}

// 4. HTTP+SSE: initialize that outlasts its stream leaves a session for ever.
func TestAttackSSEInitializeRace(t *testing.T) {
	s := newServer(nil)
	s.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, m string, r mcp.Request) (mcp.Result, error) {
			if m == "initialize" {
				time.Sleep(300 * time.Millisecond)
			}
			return next(ctx, m, r)
		}
	})
	_, url := serve(t, s, &Options{SessionSleep: 50 * time.Millisecond})
	w := &wire{t: t, url: url}
	for range 5 {
		st := w.stream("GET", "")
		ep := st.next().data
		go func() {
			req, _ := http.NewRequest("POST", url+ep, strings.NewReader(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"w","version":"1"}}}`))
			req.Header.Set("Content-Type", "application/json")
			if resp, err := http.DefaultClient.Do(req); err == nil {
				resp.Body.Close()
			}
		}()
		time.Sleep(100 * time.Millisecond)
		st.close()
	}
	time.Sleep(2 * time.Second)
	host, _ := hostOf(s)
	if n := len(host.sessions.all()); n > 0 {
		t.Errorf("%d sessions of ended connections are still there", n)
	}
}

// 5. a server with sending middleware: a goroutine leak per 2026-07-28 client claim and per listen.
func TestAttackSendingMiddlewareLeaks(t *testing.T) {
	s := newServer(nil)
	s.AddSendingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, m string, r mcp.Request) (mcp.Result, error) { return next(ctx, m, r) }
	})
	_, url := serve(t, s, nil)
	w := &wire{t: t, url: url}
	w.modern("1", "tools/list", "", "")
	before := runtime.NumGoroutine()
	for i := range 100 {
		body, hd := modernRequest("1", "tools/list", "", "", nil)
		w.do("POST", strings.Replace(body, `"name":"w"`, fmt.Sprintf(`"name":"w%d"`, i), 1), hd...)
	}
	mid := runtime.NumGoroutine()
	t.Logf("100 requests with 100 names: %d → %d goroutines", before, mid)
	for range 100 {
		body, hd := modernRequest("1", "subscriptions/listen", "", `"notifications":{"toolsListChanged":true}`, nil)
		st := w.stream("POST", body, hd...)
		st.next()
		st.close()
	}
	http.DefaultClient.CloseIdleConnections()
	time.Sleep(time.Second)
	end := runtime.NumGoroutine()
	n := 0
	for range s.Sessions() {
		n++
	}
	t.Logf("100 listens that ended: %d → %d goroutines, %d sessions", mid, end, n)
	for range 100 {
		w.do("POST", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"capabilities":{}}}`)
	}
	t.Logf("100 refused initializes: → %d goroutines", runtime.NumGoroutine())
	if end-mid > 50 || mid-before > 50 {
		t.Error("leak")
	}
}

// 6. the passive cache holds decoded claims, which are far larger than their text.
func TestAttackPassiveCache(t *testing.T) {
	h, url := serve(t, newServer(nil), nil)
	_ = h
	w := &wire{t: t, url: url}
	before := heapMB()
	var ext strings.Builder
	for i := range 600 {
		fmt.Fprintf(&ext, `,"%04x":{}`, i)
	}
	const n = 20
	for i := range n {
		body, hd := modernRequest("1", "tools/list", "", "", nil)
		body = strings.Replace(body, `"roots":{}`, fmt.Sprintf(`"roots":{},"extensions":{"i%d":{}%s}`, i, ext.String()), 1)
		if a := w.do("POST", body, hd...); a.msg.Result == nil {
			t.Fatal(a.body)
		}
	}
	per := (heapMB() - before) / n
	if per*maxPassives > 100 {
		t.Errorf("%.2f MB per kept claim, %.0f MB for all", per, per*maxPassives)
	}
	body, hd := modernRequest("1", "tools/list", "", "", nil)
	body = strings.Replace(body, `"roots":{}`, `"roots":{},"experimental":{"x":{"y":"`+strings.Repeat("z", 10<<10)+`"}}`, 1)
	if a := w.do("POST", body, hd...); a.status != 400 || a.code() != -32602 {
		t.Errorf("a claim of many words: %d %s", a.status, a.body)
	}
}

// 7. frames of long-lived requests are pinned: 100 subscriptions a WebSocket.
func TestAttackPinnedFrames(t *testing.T) {
	_, url := serve(t, newServer(nil), nil)
	c, _, err := websocket.Dial(context.Background(), url, &websocket.DialOptions{Subprotocols: []string{"mcp"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	before := heapMB()
	for i := range 40 { // without -race: parsing 3 MB is slow with it
		body, _ := modernRequest(fmt.Sprint(i), "subscriptions/listen", "", `"notifications":{"toolsListChanged":true},"pad":"`+strings.Repeat("x", 3<<20)+`"`, nil)
		if err := c.Write(context.Background(), websocket.MessageText, []byte(body)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Read(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if mb := heapMB() - before; mb > 60 {
		t.Errorf("%.0f MB for 40 subscriptions of one connection", mb)
	}
}

// 8. a subscribed session whose record expired stays for ever.
func TestAttackSubscribedSessionOutlivesItsRecord(t *testing.T) {
	s := mcp.NewServer(&mcp.Implementation{Name: "t", Version: "1"}, &mcp.ServerOptions{
		SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil }})
	s.AddResource(&mcp.Resource{URI: "a://b", Name: "b"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) { return nil, nil })
	_, url := serve(t, s, &Options{SessionTTL: time.Second, SessionSleep: 50 * time.Millisecond})
	w := (&wire{t: t, url: url}).initialize(version20251125)
	if a := w.call("1", "resources/subscribe", `"uri":"a://b"`); a.msg.Error != nil {
		t.Fatal(a.body)
	}
	time.Sleep(4 * time.Second)
	host, _ := hostOf(s)
	if n := len(host.sessions.all()); n > 0 {
		t.Errorf("%d sessions whose records expired are in memory, subscribed", n)
	}
}

// 9. a subscribe that is at work when the session ends stays subscribed.
func TestAttackSubscribeDuringDelete(t *testing.T) {
	un := make(chan string, 10)
	in := make(chan bool, 1)
	s := mcp.NewServer(&mcp.Implementation{Name: "t", Version: "1"}, &mcp.ServerOptions{
		SubscribeHandler: func(context.Context, *mcp.SubscribeRequest) error {
			in <- true
			time.Sleep(300 * time.Millisecond)
			return nil
		},
		UnsubscribeHandler: func(_ context.Context, r *mcp.UnsubscribeRequest) error { un <- r.Params.URI; return nil }})
	s.AddResource(&mcp.Resource{URI: "a://b", Name: "b"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) { return nil, nil })
	_, url := serve(t, s, nil)
	w := (&wire{t: t, url: url}).initialize(version20251125)
	go func() { <-in; w.do("DELETE", "") }()
	a := w.call("1", "resources/subscribe", `"uri":"a://b"`)
	t.Log(a.body)
	select {
	case <-un:
	case <-time.After(time.Second):
		t.Error("the server was never told to unsubscribe")
	}
}

// 10. answers kept for replay are bounded per stream, but not the streams.
func TestAttackReplayMemory(t *testing.T) {
	s := newServer(nil)
	big := strings.Repeat("x", 1000<<10)
	s.AddTool(&mcp.Tool{Name: "big", InputSchema: map[string]any{"type": "object"}}, func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		_ = r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: "x"})
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: big}}}, nil
	})
	_, url := serve(t, s, nil)
	w := (&wire{t: t, url: url}).initialize(version20251125)
	before := heapMB()
	for range 100 {
		w.call("1", "tools/call", `"name":"big"`)
	}
	if mb := heapMB() - before; mb > 50 {
		t.Errorf("100 answered calls of one session keep %.0f MB for 10 minutes", mb)
	}
}

// 11. Shutdown and a call at work on the 2024-11-05 pair.
func TestAttackShutdownCutsSSEPair(t *testing.T) {
	s := newServer(nil)
	started := make(chan bool, 1)
	s.AddTool(&mcp.Tool{Name: "slow", InputSchema: map[string]any{"type": "object"}}, func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		started <- true
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "finished"}}}, nil
	})
	h, url := serve(t, s, nil)
	w := &wire{t: t, url: url}
	st := w.stream("GET", "")
	w.url = url + st.next().data
	w.do("POST", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"w","version":"1"}}}`)
	st.next()
	w.call("1", "tools/call", `"name":"slow"`)
	<-started
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = h.Shutdown(ctx)
	got := fmt.Sprint(st.ended())
	if !strings.Contains(got, "finished") {
		t.Errorf("the call at work was cut at once, its answer lost: %s", got)
	}
}

// 12. JSON: many members, time.
func TestAttackManyMembers(t *testing.T) {
	_, url := serve(t, newServer(nil), nil)
	w := &wire{t: t, url: url}
	var b strings.Builder
	for i := range 250000 {
		fmt.Fprintf(&b, `"%06x":1,`, i)
	}
	many := b.String()
	for name, params := range map[string]string{
		"params": many + `"name":"add","arguments":{"a":1,"b":2}`, "arguments": `"name":"add","arguments":{` + many + `"a":1,"b":2}`,
		"inputResponses": `"name":"add","arguments":{"a":1,"b":2},"inputResponses":{` + strings.ReplaceAll(many, ":1,", ":{},") + `"x":{}}`,
		"id":             `"name":"add","arguments":{"a":1e999,"b":2}`,
	} {
		a := w.modern("1", "tools/call", "add", params) // work in proportion to the square would take minutes
		t.Logf("%s: %d %.150s", name, a.status, a.body)
	}
	s := w.initialize(version20251125)
	for _, raw := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"ping","ID":2}`, `{"jsonrpc":"2.0","id":1e400,"method":"ping"}`,
		`{"jsonrpc":"2.0","id":99999999999999999999999999,"method":"ping"}`, `{"jsonrpc":"2.0","id":1.5,"method":"ping"}`,
		`{"jsonrpc":"2.0","id":"\ud800","method":"ping"}`, `{"jsonrpc":"2.0","id":"a\u0000b\n","method":"ping"}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":2},"_meta":{"progressToken":1e99}}}`,
		`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":{}}}`, "\xef\xbb\xbf{}", `{"jsonrpc":"2.0","id":1,"method":"ping"}{"jsonrpc":"2.0","id":2,"method":"ping"}`,
	} {
		a := s.do("POST", raw)
		t.Logf("%.60q → %d %.160s", raw, a.status, a.body)
	}
}

var _ = io.EOF

// 13. WebSocket: listen and its cancellation back to back (run with -race).
func TestAttackListenCancelRace(t *testing.T) {
	_, url := serve(t, newServer(nil), &Options{StreamAfter: time.Millisecond, KeepAlive: time.Millisecond})
	c, _, err := websocket.Dial(context.Background(), url, &websocket.DialOptions{Subprotocols: []string{"mcp"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	go func() {
		for {
			if _, _, err := c.Read(context.Background()); err != nil {
				return
			}
		}
	}()
	for i := range 200 {
		body, _ := modernRequest(fmt.Sprint(i), "subscriptions/listen", "", `"notifications":{"toolsListChanged":true}`, nil)
		_ = c.Write(context.Background(), websocket.MessageText, []byte(body))
		_ = c.Write(context.Background(), websocket.MessageText, []byte(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}`, i)))
	}
	time.Sleep(300 * time.Millisecond)
}

// 15. crashed encode on a plain POST: the call stays active, Shutdown?
func TestAttackEncodePanicOnPOST(t *testing.T) {
	h, url := serve(t, crashServer(), nil)
	body, hd := modernRequest("1", "tools/call", "nil", `"name":"nil"`, nil)
	req, _ := http.NewRequest("POST", url, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(hd); i += 2 {
		req.Header.Set(hd[i], hd[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Errorf("no answer: %v", err)
	} else {
		resp.Body.Close()
	}
	t.Log(h.watch.size())
}

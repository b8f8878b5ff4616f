package mcphttp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestForeignOriginsAreRefusedOnEveryTransport(t *testing.T) {
	_, url := serve(t, newServer(nil), &Options{AllowedOrigins: []string{"https://app.example.com"}})
	w := &wire{t: t, url: url}
	s := w.initialize(version20251125)
	host := strings.TrimPrefix(url, "http://")
	body, hd := modernRequest("1", "tools/list", "", "", nil)
	for _, tt := range []struct {
		origin string
		ok     bool
	}{
		{"https://evil.example.com", false},
		{"http://" + host + ".evil.example.com", false},
		{"null", false},
		{"file://", false},
		{"https://app.example.com.evil.org", false},
		{"http://app.example.com", false},
		{"https://app.example.com", true},
		{"http://" + host, true},
		{"http://localhost:6274", true},
		{"http://[::1]:3000", true},
	} {
		want := func(what string, got, good int) {
			t.Helper()
			if tt.ok && got != good || !tt.ok && got != 403 {
				t.Errorf("%s from %s: %d", what, tt.origin, got)
			}
		}
		want("POST", s.call("1", "ping", "", "Origin", tt.origin).status, 200)
		want("a modern POST", w.do("POST", body, append(hd, "Origin", tt.origin)...).status, 200)
		want("a preflight", w.do("OPTIONS", "", "Origin", tt.origin).status, 204)
		want("DELETE", w.do("DELETE", "", "Origin", tt.origin).status, 400)
		get := s.stream("GET", "", "Origin", tt.origin)
		want("GET", get.resp.StatusCode, 200)
		get.close()
		sse := w.stream("GET", "", "Origin", tt.origin)
		want("a 2024-11-05 GET", sse.resp.StatusCode, 200)
		sse.close()
		c, resp, err := websocket.Dial(context.Background(), url, &websocket.DialOptions{Subprotocols: []string{"mcp"}, HTTPHeader: http.Header{"Origin": {tt.origin}}})
		if resp == nil {
			t.Fatal(err)
		}
		want("a WebSocket", resp.StatusCode, 101)
		if c != nil {
			c.CloseNow()
		}
	}
	a := s.call("1", "ping", "", "Origin", "https://app.example.com")
	if a.header.Get("Access-Control-Allow-Origin") != "https://app.example.com" || a.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("CORS: %v", a.header)
	}
	a = s.call("1", "ping", "", "Origin", "https://evil.example.com")
	if a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("CORS for a foreign page: %v", a.header)
	}
}

func TestOnLoopbackOnlyItsOwnNamesAreServed(t *testing.T) {
	_, url := serve(t, newServer(nil), &Options{AllowedHosts: []string{"mcp.example.com"}})
	w := &wire{t: t, url: url}
	for host, want := range map[string]int{
		"evil.example.com": 403, "evil.example.com:80": 403, "127.0.0.1.evil.example.com": 403,
		"localhost": 200, "LOCALHOST:1234": 200, "127.0.0.1": 200, "[::1]:80": 200, "mcp.example.com": 200, "MCP.example.com:443": 200,
	} {
		if a := w.modern("1", "tools/list", "", "", "Host", host); a.status != want {
			t.Errorf("Host %s: %d, want %d", host, a.status, want)
		}
	}
}

// at makes requests look as if they came in on the given local address.
func at(h http.Handler, addr net.Addr) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, addr)))
	})
}

func TestAPublicAddressWithoutSignInIsRefused(t *testing.T) {
	public := &net.TCPAddr{IP: net.IPv4(203, 0, 113, 7), Port: 443}
	server := func(*http.Request) *mcp.Server { return testServer }
	for _, tt := range []struct {
		name string
		h    http.Handler
		want int
	}{
		{"nobody said it is open", at(NewHandler(server, nil), public), 401},
		{"declared open", at(NewHandler(server, &Options{AllowAnonymous: true}), public), 200},
		{"signed in", as(at(NewHandler(server, nil), public)), 200},
		{"on loopback", NewHandler(server, nil), 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &wire{t: t, url: serveHTTP(t, tt.h), hd: http.Header{"Authorization": {"Bearer u"}}}
			if a := w.modern("1", "tools/list", "", ""); a.status != tt.want {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
}

func TestBodiesAreBounded(t *testing.T) {
	_, url := serve(t, newServer(nil), &Options{MaxBody: 1000})
	w := (&wire{t: t, url: url}).initialize(version20251125)
	big := request("1", "ping", `"x":"`+strings.Repeat("y", 2000)+`"`)
	if a := w.do("POST", big); a.status != 413 {
		t.Errorf("a large body: %d %s", a.status, a.body)
	}
	req, _ := http.NewRequest("POST", url, struct{ *strings.Reader }{strings.NewReader(big)}) // chunked
	req.ContentLength = -1
	req.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"*/*"}, "Mcp-Session-Id": {w.sid}}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 413 {
		t.Errorf("a large body in chunks: %d", resp.StatusCode)
	}
	c := dial(t, url, version20251125)
	c.write(big)
	if _, _, err := c.c.Read(context.Background()); websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
		t.Errorf("a large frame: %v", err)
	}
}

func TestBatchesAreBounded(t *testing.T) {
	_, url := serve(t, newServer(nil), &Options{MaxBatch: 3})
	w := (&wire{t: t, url: url}).initialize(version20250326)
	note := `{"jsonrpc":"2.0","method":"notifications/cancelled"}`
	if a := w.do("POST", "["+strings.Repeat(note+",", 3)+note+"]"); a.status != 400 || !strings.Contains(a.body, "3") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestAPanicIsItsCallersErrorAndALogLine(t *testing.T) {
	var logged bytes.Buffer
	var mu sync.Mutex
	log := slog.New(slog.NewTextHandler(writerFunc(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return logged.Write(b)
	}), nil))
	s := newServer(&mcp.ServerOptions{
		SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { panic("subscribe") },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
		InitializedHandler: func(context.Context, *mcp.InitializedRequest) { panic("initialized") },
	})
	mcp.AddTool(s, &mcp.Tool{Name: "boom"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		var none *addIn
		return nil, none.A, nil
	})
	s.AddResource(&mcp.Resource{URI: "test://x", Name: "x"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		panic(errors.New("secret"))
	})
	_, url := serve(t, s, &Options{Logger: log})
	w := &wire{t: t, url: url}
	legacy := w.initialize(version20251125)
	for name, a := range map[string]*answered{
		"legacy tool":     legacy.call("1", "tools/call", `"name":"boom"`),
		"legacy resource": legacy.call("1", "resources/read", `"uri":"test://x"`),
		"subscribe":       legacy.call("1", "resources/subscribe", `"uri":"test://x"`),
		"modern tool":     w.modern("1", "tools/call", "boom", `"name":"boom"`),
		"modern resource": w.modern("1", "resources/read", "test://x", `"uri":"test://x"`),
		"modern listen":   w.modern("1", "subscriptions/listen", "", `"notifications":{"resourceSubscriptions":["test://x"]}`),
	} {
		if a.code() != -32603 || strings.Contains(a.body, "secret") || strings.Contains(a.body, "goroutine") || strings.Contains(a.body, "nil pointer") {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := w.modern("1", "tools/list", "", ""); a.status != 200 {
		t.Errorf("the server is gone: %d", a.status)
	}
	mu.Lock()
	defer mu.Unlock()
	if n := strings.Count(logged.String(), "a handler panicked"); n < 6 {
		t.Errorf("%d log lines: %s", n, logged.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestACallThatTakesTooLongIsAnswered(t *testing.T) {
	s := newServer(nil)
	release := make(chan struct{})
	mcp.AddTool(s, &mcp.Tool{Name: "deaf"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		<-release // does not care for its context
		return nil, nil, nil
	})
	_, url := serve(t, s, &Options{CallTimeout: 50 * time.Millisecond, StreamAfter: 10 * time.Millisecond})
	w := &wire{t: t, url: url}
	legacy := w.initialize(version20251125)
	var got [2]*streamed
	got[0] = legacy.stream("POST", request("1", "tools/call", `"name":"deaf"`))
	body, hd := modernRequest("1", "tools/call", "deaf", `"name":"deaf"`, nil)
	got[1] = w.stream("POST", body, hd...)
	for i, st := range got {
		if ev := st.next(); !strings.Contains(ev.data, "-32603") || !strings.Contains(ev.data, "longer") {
			t.Errorf("%d: %s", i, ev.data)
		}
	}
	close(release)
}

func TestRequestsAtWorkAreBoundedPerSession(t *testing.T) {
	s := newServer(nil)
	release := make(chan struct{})
	var started sync.WaitGroup
	started.Add(3)
	mcp.AddTool(s, &mcp.Tool{Name: "wait"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		started.Done()
		<-release
		return nil, nil, nil
	})
	_, url := serve(t, s, &Options{MaxCallsPerSession: 3})
	w := (&wire{t: t, url: url}).initialize(version20251125)
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() { w.call(fmt.Sprint(i), "tools/call", `"name":"wait"`) })
	}
	started.Wait()
	if a := w.call("9", "ping", ""); a.code() != -32603 || !strings.Contains(a.body, "3 requests") {
		t.Errorf("%d %s", a.status, a.body)
	}
	close(release)
	wg.Wait()
	if a := w.call("10", "ping", ""); a.code() != 0 {
		t.Errorf("afterwards: %s", a.body)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	_, url := serve(t, newServer(nil), &Options{MaxStreams: 1})
	w := (&wire{t: t, url: url}).initialize(version20251125)
	w.stream("GET", "")
	if a := w.do("GET", ""); a.status != 503 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if _, resp, err := websocket.Dial(context.Background(), url, &websocket.DialOptions{Subprotocols: []string{"mcp"}}); err == nil || resp.StatusCode != 503 {
		t.Errorf("a WebSocket: %v", err)
	}
}

func TestNothingSecretIsLogged(t *testing.T) {
	var logged bytes.Buffer
	var mu sync.Mutex
	log := slog.New(slog.NewTextHandler(writerFunc(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return logged.Write(b)
	}), &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := newServer(nil)
	mcp.AddTool(s, &mcp.Tool{Name: "boom"}, func(context.Context, *mcp.CallToolRequest, struct {
		Key string `json:"key"`
	}) (*mcp.CallToolResult, any, error) {
		panic("boom")
	})
	h := NewHandler(func(*http.Request) *mcp.Server { return s }, &Options{Logger: log})
	w := &wire{t: t, url: serveHTTP(t, as(h)), hd: http.Header{"Authorization": {"Bearer token-s3cr3t"}}}
	l := w.initialize(version20251125)
	l.call("1", "tools/call", `"name":"boom","arguments":{"key":"argument-s3cr3t"}`)
	w.modern("1", "tools/call", "boom", `"name":"boom","arguments":{"key":"argument-s3cr3t"},"requestState":"state-s3cr3t"`)
	w.modern("1", "tools/call", "boom", `"name":"boom","arguments":{"key":"argument-s3cr3t"}`)
	l.do("POST", `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"token-s3cr3t","progress":"x"}}`)
	mu.Lock()
	defer mu.Unlock()
	if out := logged.String(); strings.Contains(out, "s3cr3t") || strings.Contains(out, l.sid) || !strings.Contains(out, "boom") {
		t.Errorf("%s", out)
	}
}

func TestAMisconfiguredHandlerSaysSo(t *testing.T) {
	h := NewHandler(func(*http.Request) *mcp.Server { return testServer }, &Options{Secret: []byte("short"), Logger: slog.New(slog.DiscardHandler)})
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("POST", "/", nil))
	if rec.Code != 500 {
		t.Errorf("%d", rec.Code)
	}
	h = NewHandler(func(*http.Request) *mcp.Server { return nil }, nil)
	rec = httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("POST", "/", nil))
	if rec.Code != 404 {
		t.Errorf("no server: %d", rec.Code)
	}
}

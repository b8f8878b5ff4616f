package mcphttp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// What reviewers of this package found, so that it stays found.

func TestASubscriptionIsBounded(t *testing.T) {
	var n atomic.Int32
	s := newServer(&mcp.ServerOptions{
		SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { n.Add(1); return nil },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
	})
	s.AddResource(&mcp.Resource{URI: "test://x", Name: "x"}, nil)
	_, url := serve(t, s, nil)
	w := &wire{t: t, url: url}
	for _, uris := range []string{strings.Repeat(`"test://x",`, 1000) + `"test://x"`, `"test://` + strings.Repeat("x", 3000) + `"`} {
		if a := w.modern("1", "subscriptions/listen", "", `"notifications":{"resourceSubscriptions":[`+uris+`]}`); a.code() != -32602 {
			t.Errorf("%d %.200s", a.status, a.body)
		}
	}
	l := w.initialize(version20251125)
	if a := l.call("1", "resources/subscribe", `"uri":"test://`+strings.Repeat("x", 3000)+`"`); a.code() != -32602 {
		t.Errorf("%d %.200s", a.status, a.body)
	}
	if n.Load() != 0 {
		t.Errorf("the SubscribeHandler was called %d times", n.Load())
	}
}

func TestHandlersSeeWhatTheClientSaidOfItself(t *testing.T) {
	s := newServer(nil)
	seen := make(chan string, 1)
	mcp.AddTool(s, &mcp.Tool{Name: "who"}, func(_ context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		seen <- req.Session.InitializeParams().ClientInfo.Name
		return nil, nil, nil
	})
	_, url := serve(t, s, nil)
	body, hd := modernRequest("1", "tools/call", "who", `"name":"who"`, nil)
	body = strings.Replace(body, `{"name":"w","version":"1"}`, `{"name":"good","version":"1","NAME":"evil"}`, 1)
	if a := (&wire{t: t, url: url}).do("POST", body, hd...); a.status != 200 {
		t.Fatal(a.body)
	}
	if got := <-seen; got != "good" {
		t.Errorf("%q", got)
	}
	body, hd = modernRequest("1", "tools/list", "", "", nil)
	body = strings.Replace(body, `{"name":"w"`, `{"pad":"`+strings.Repeat("x", 70<<10)+`","name":"w"`, 1)
	if a := (&wire{t: t, url: url}).do("POST", body, hd...); a.status != 400 || a.code() != -32602 {
		t.Errorf("a client of many words: %d", a.status)
	}
}

func TestNullArgumentsAreNone(t *testing.T) {
	s := newServer(nil)
	schema := json.RawMessage(`{"type":"object","properties":{"a":{"type":"integer","default":1}}}`)
	mcp.AddTool(s, &mcp.Tool{Name: "def", InputSchema: schema}, func(_ context.Context, _ *mcp.CallToolRequest, in struct {
		A int `json:"a"`
	}) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint("a=", in.A)}}}, nil, nil
	})
	s.AddTool(&mcp.Tool{Name: "raw", InputSchema: schema}, func(_ context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		in := struct{ A int }{1}
		if err := json.Unmarshal(req.Params.Arguments, &in); err != nil {
			return nil, err
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint("a=", in.A)}}}, nil
	})
	_, url := serve(t, s, nil)
	w := &wire{t: t, url: url}
	legacy := w.initialize(version20251125)
	for name, a := range map[string]*answered{
		"modern":          w.modern("1", "tools/call", "def", `"name":"def","arguments":null`),
		"legacy":          legacy.call("1", "tools/call", `"name":"def","arguments":null`),
		"modern, untyped": w.modern("1", "tools/call", "raw", `"name":"raw","arguments":null`),
		"legacy, untyped": legacy.call("1", "tools/call", `"name":"raw","arguments":null`),
	} {
		if !strings.Contains(a.body, "a=1") {
			t.Errorf("%s: %s", name, a.body)
		}
	}
}

func TestNobodyPretendsToBeInARoundInTheSessionEras(t *testing.T) {
	s := newServer(nil)
	seen := make(chan string, 2)
	s.AddPrompt(&mcp.Prompt{Name: "p"}, func(_ context.Context, req *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		seen <- req.Params.RequestState
		return &mcp.GetPromptResult{}, nil
	})
	_, url := serve(t, s, nil)
	l := (&wire{t: t, url: url}).initialize(version20251125)
	l.call("1", "prompts/get", `"name":"p","requestState":"forged","inputResponses":{"q":{"action":"accept"}}`)
	if got := <-seen; got != "" {
		t.Errorf("the handler was given the state %q", got)
	}
}

func TestTextCutWithinACharacterIsTaken(t *testing.T) {
	s := newServer(nil)
	s.AddPrompt(&mcp.Prompt{Name: "p", Arguments: []*mcp.PromptArgument{{Name: "x"}}}, func(_ context.Context, req *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return &mcp.GetPromptResult{Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: req.Params.Arguments["x"]}}}}, nil
	})
	_, url := serve(t, s, nil)
	a := (&wire{t: t, url: url}).modern("1", "prompts/get", "p", `"name":"p","arguments":{"x":"cut \ud83d"}`)
	if a.code() != 0 || !strings.Contains(a.body, "cut \uFFFD") {
		t.Errorf("%s", a.body)
	}
}

func TestAnEventIdCannotWriteItsOwnEvents(t *testing.T) {
	_, url := serve(t, newServer(nil), nil)
	l := (&wire{t: t, url: url}).initialize(version20251125)
	for _, raw := range []string{`"a","result":{"x":1},"z":"b"`, `1,"result":{}`, `null`, "1\n2", `{}`} {
		id := eventID{callStream("x", []string{raw}), 1}
		for _, ev := range l.stream("GET", "", "Last-Event-ID", id.String()).ended() {
			var msg struct {
				ID     json.RawMessage
				Result json.RawMessage
				Error  *struct{ Code int }
			}
			if ev.data != "" && (json.Unmarshal([]byte(ev.data), &msg) != nil || msg.Result != nil || msg.Error == nil) {
				t.Errorf("%q wrote %s", raw, ev.data)
			}
		}
	}
}

func TestAConnectionPerSessionIsBehindTheSameDoors(t *testing.T) {
	_, url := serve(t, newServer(nil), &Options{ConnectionPerSession: true})
	w := &wire{t: t, url: url}
	if a := w.do("POST", `{"jsonrpc":"2.0","id":1,"method":"ping","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"w","version":"1"}}}`); a.status != 400 || a.code() != -32600 {
		t.Errorf("a duplicate method: %d %s", a.status, a.body)
	}
	if a := w.modern("1", "tools/call", "add", `"name":"add","arguments":{"a":1,"b":2}`); !strings.Contains(a.body, `{\"sum\":3}`) {
		t.Errorf("modern: %d %s", a.status, a.body)
	}
	l := w.initialize(version20251125)
	if a := l.call("1", "tools/call", `"name":"add","arguments":{"a":1,"b":2}`); !strings.Contains(a.body, `{\"sum\":3}`) {
		t.Errorf("legacy: %d %s", a.status, a.body)
	}
	if a := l.call("1", "ping", "", "Origin", "https://evil.example.com"); a.status != 403 {
		t.Errorf("a foreign page: %d", a.status)
	}
	if ev := w.stream("GET", "").next(); ev.name != "endpoint" {
		t.Errorf("the old pair: %+v", ev)
	}
}

// Clients of the session eras that mirror Mcp-Method all the same (mcp-remote).
func TestMcpMethodAloneDoesNotMakeASessionModern(t *testing.T) {
	_, url := serve(t, newServer(nil), nil)
	w := &wire{t: t, url: url}
	a := w.call("0", "initialize", `"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"w","version":"1"}`, "Mcp-Method", "initialize")
	l := &wire{t: t, url: url, sid: a.header.Get("Mcp-Session-Id")}
	if a.status != 200 || l.sid == "" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := l.call("1", "tools/list", "", "Mcp-Method", "tools/list"); a.status != 200 || a.msg.Result == nil {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestACancelledRequestGetsNoResponseOnAConnection(t *testing.T) {
	s := newServer(nil)
	started := make(chan struct{})
	mcp.AddTool(s, &mcp.Tool{Name: "wait"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		close(started)
		<-ctx.Done()
		return nil, nil, ctx.Err()
	})
	_, url := serve(t, s, nil)
	c := dial(t, url, version20251125)
	c.write(request("7", "tools/call", `"name":"wait"`))
	<-started
	c.write(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}`)
	c.write(request("8", "ping", ""))
	if msg := c.read(); !strings.Contains(msg, `"id":8`) {
		t.Errorf("%s", msg)
	}
}

func TestABodyThatDoesNotComeEndsItsRequest(t *testing.T) {
	_, url := serve(t, newServer(nil), &Options{ReadTimeout: 50 * time.Millisecond})
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: */*\r\nContent-Length: 4000000\r\n\r\n{")
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	b, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(b), "400") {
		t.Errorf("%v %q", err, b)
	}
}

func TestShutdownCancelsWhatDoesNotEnd(t *testing.T) {
	s := newServer(nil)
	started, cause := make(chan struct{}), make(chan error, 1)
	mcp.AddTool(s, &mcp.Tool{Name: "wait"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		close(started)
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return nil, nil, ctx.Err()
	})
	h, url := serve(t, s, nil)
	l := (&wire{t: t, url: url}).initialize(version20251125)
	go func() { // its connection may be cut under it
		req, _ := http.NewRequest("POST", url, strings.NewReader(request("1", "tools/call", `"name":"wait"`)))
		req.Header = http.Header{"Content-Type": {"application/json"}, "Mcp-Session-Id": {l.sid}}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	<-started
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := h.Shutdown(ctx); err == nil {
		t.Error("Shutdown did not say that a request was at work")
	}
	if err := <-cause; err != errShutdown {
		t.Errorf("%v", err)
	}
}

var _ http.Handler = (*Handler)(nil)

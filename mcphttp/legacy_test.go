package mcphttp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func TestLegacyRefusals(t *testing.T) {
	_, url := serve(t, newServer(nil), nil)
	fresh := &wire{t: t, url: url}
	s := fresh.initialize(version20251125)
	batching := fresh.initialize(version20250326)
	for _, tt := range []struct {
		name   string
		w      *wire
		method string
		body   string
		header []string
		status int
		code   int
		says   string
	}{
		{"a request without a session", fresh, "POST", request("1", "tools/list", ""), nil, 400, -32600, "Mcp-Session-Id"},
		{"a request with an unknown session", fresh, "POST", request("1", "tools/list", ""), []string{"Mcp-Session-Id", "0-NOSUCHSESSION"}, 404, -32600, "session not found"},
		{"a session id that cannot be one", fresh, "POST", request("1", "tools/list", ""), []string{"Mcp-Session-Id", "../../x"}, 404, -32600, "session not found"},
		{"a version nobody has", s, "POST", request("1", "tools/list", ""), []string{"MCP-Protocol-Version", "1999-01-01"}, 400, -32600, "1999-01-01"},
		{"two session ids", s, "POST", request("1", "tools/list", ""), []string{"+Mcp-Session-Id", "0-OTHER"}, 400, -32600, "Mcp-Session-Id"},
		{"initialize within a session", s, "POST", request("1", "initialize", `"protocolVersion":"2025-11-25"`), nil, 400, -32600, "initialize"},
		{"initialize without params", fresh, "POST", request("1", "initialize", ""), nil, 200, -32602, "params"},
		{"initialize without a version", fresh, "POST", request("1", "initialize", `"capabilities":{}`), nil, 200, -32602, "protocolVersion"},
		{"an unknown method", s, "POST", request("1", "nix", ""), nil, 200, -32601, "nix"},
		{"a method of the next era", s, "POST", request("1", "server/discover", ""), nil, 200, -32601, "server/discover"},
		{"a call without params", s, "POST", request("1", "tools/call", ""), nil, 200, -32602, "missing"},
		{"a call of no tool", s, "POST", request("1", "tools/call", `"arguments":{}`), nil, 200, -32602, "name"},
		{"an unknown tool", s, "POST", request("1", "tools/call", `"name":"nix"`), nil, 200, -32602, "nix"},
		{"params of the wrong type", s, "POST", request("1", "tools/list", `"cursor":5`), nil, 200, -32602, "cursor"},
		{"a batch in an era without", s, "POST", `[` + request("1", "ping", "") + `]`, nil, 400, -32600, "batch"},
		{"an empty batch", batching, "POST", `[]`, nil, 400, -32600, "batch"},
		{"initialize in a batch", batching, "POST", `[` + request("1", "initialize", `"protocolVersion":"2025-03-26"`) + `]`, nil, 400, -32600, "initialize"},
		{"an id twice in a batch", batching, "POST", `[` + request("1", "ping", "") + `,` + request("1", "ping", "") + `]`, nil, 400, -32600, "twice"},
		{"no JSON", s, "POST", `nope`, nil, 400, -32700, "JSON"},
		{"a null id", s, "POST", `{"jsonrpc":"2.0","id":null,"method":"ping"}`, nil, 400, -32600, "id"},
		{"the wrong content type", s, "POST", request("1", "ping", ""), []string{"Content-Type", "text/plain"}, 415, -32600, "Content-Type"},
		{"no content type", s, "POST", request("1", "ping", ""), []string{"Content-Type", "-"}, 415, -32600, "Content-Type"},
		{"an Accept without event streams", s, "POST", request("1", "ping", ""), []string{"Accept", "application/json"}, 406, -32600, "Accept"},
		{"a GET that wants JSON", s, "GET", "", []string{"Accept", "application/json"}, 406, -32600, "Accept"},
		{"a GET of an unknown session", fresh, "GET", "", []string{"Mcp-Session-Id", "0-NOSUCHSESSION"}, 404, -32600, "session not found"},
		{"a GET with a version and no session", fresh, "GET", "", []string{"MCP-Protocol-Version", version20251125}, 400, -32600, "Mcp-Session-Id"},
		{"a malformed Last-Event-ID", s, "GET", "", []string{"Last-Event-ID", "what/ever"}, 400, -32600, "Last-Event-ID"},
		{"a DELETE without a session", fresh, "DELETE", "", nil, 400, -32600, "Mcp-Session-Id"},
		{"a DELETE of an unknown session", fresh, "DELETE", "", []string{"Mcp-Session-Id", "0-NOSUCHSESSION"}, 404, -32600, "session not found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := tt.w.do(tt.method, tt.body, tt.header...)
			if a.status != tt.status || a.code() != tt.code {
				t.Fatalf("got %d and %d, want %d and %d: %s", a.status, a.code(), tt.status, tt.code, a.body)
			}
			if !strings.Contains(a.msg.Error.Message, tt.says) {
				t.Errorf("the message does not say %q: %s", tt.says, a.msg.Error.Message)
			}
		})
	}
	if a := s.do("PATCH", ""); a.status != 405 || !strings.Contains(a.header.Get("Allow"), "POST") {
		t.Errorf("PATCH: %d, Allow %q", a.status, a.header.Get("Allow"))
	}
}

func TestVersionsAreNegotiated(t *testing.T) {
	_, url := serve(t, newServer(nil), nil)
	w := &wire{t: t, url: url}
	for asked, want := range map[string]string{
		version20250326: version20250326, version20250618: version20250618, version20251125: version20251125,
		version20241105: version20241105, version20260728: version20251125, "1999-01-01": version20251125, "2099-01-01": version20251125,
	} {
		a := w.call("1", "initialize", fmt.Sprintf(`"protocolVersion":%q,"capabilities":{},"clientInfo":{"name":"w","version":"1"}`, asked))
		if !strings.Contains(string(a.msg.Result), `"protocolVersion":"`+want+`"`) {
			t.Errorf("asked for %s, want %s: %s", asked, want, a.body)
		}
	}
}

func TestABatchIsAnsweredAsOne(t *testing.T) {
	_, url := serve(t, newServer(nil), nil)
	s := (&wire{t: t, url: url}).initialize(version20250326)
	a := s.do("POST", `[`+request("1", "ping", "")+`,{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}},`+
		request(`"two"`, "tools/call", `"name":"add","arguments":{"a":1,"b":2}`)+`]`)
	var got []struct {
		ID     any `json:"id"`
		Result any `json:"result"`
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || len(got) != 2 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	ids := map[any]bool{got[0].ID: true, got[1].ID: true}
	if !ids[float64(1)] || !ids["two"] {
		t.Errorf("ids: %v", ids)
	}
	if a := s.do("POST", `[{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}]`); a.status != 202 || a.body != "" {
		t.Errorf("a batch of notifications: %d %q", a.status, a.body)
	}
	if a := s.do("POST", `[`+request("1", "ping", "")+`]`); !strings.HasPrefix(a.body, `[{`) {
		t.Errorf("a batch of one is answered as a batch: %s", a.body)
	}
}

func TestADeletedSessionIsGone(t *testing.T) {
	_, url := serve(t, newServer(nil), nil)
	s := (&wire{t: t, url: url}).initialize(version20251125)
	if a := s.call("1", "ping", ""); a.status != 200 || string(a.msg.Result) != "{}" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	get := s.stream("GET", "")
	if a := s.do("DELETE", ""); a.status != 204 {
		t.Fatalf("DELETE: %d %s", a.status, a.body)
	}
	get.ended()
	if a := s.call("1", "ping", ""); a.status != 404 {
		t.Errorf("after DELETE: %d %s", a.status, a.body)
	}
}

// as puts a signed-in user into every request, as a bearer middleware would.
func as(h http.Handler) http.Handler {
	verify := func(_ context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		return &auth.TokenInfo{UserID: token, Expiration: time.Now().Add(time.Hour)}, nil
	}
	return auth.RequireBearerToken(verify, nil)(h)
}

func TestASessionBelongsToItsUser(t *testing.T) {
	h := NewHandler(func(*http.Request) *mcp.Server { return testServer }, nil)
	url := serveHTTP(t, as(h))
	alice := &wire{t: t, url: url, hd: http.Header{"Authorization": {"Bearer alice"}}}
	bob := &wire{t: t, url: url, hd: http.Header{"Authorization": {"Bearer bob"}}}
	s := alice.initialize(version20251125)
	bob.sid = s.sid
	for _, m := range []string{"POST", "GET", "DELETE"} {
		if a := bob.do(m, request("1", "ping", "")); a.status != 404 {
			t.Errorf("another user's %s: %d, want 404 as for an unknown session: %s", m, a.status, a.body)
		}
	}
	if a := s.call("1", "ping", ""); a.status != 200 {
		t.Errorf("its own user: %d", a.status)
	}
}

var testServer = newServer(nil)

func TestSessionsAreLimited(t *testing.T) {
	h := NewHandler(func(*http.Request) *mcp.Server { return testServer }, &Options{MaxSessions: 5, MaxSessionsPerUser: 2})
	url := serveHTTP(t, as(h))
	user := func(name string) *wire {
		return &wire{t: t, url: url, hd: http.Header{"Authorization": {"Bearer " + name}}}
	}
	init := func(w *wire) *answered {
		return w.call("1", "initialize", `"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"w","version":"1"}`)
	}
	a := user("alice")
	first := a.initialize(version20251125)
	a.initialize(version20251125)
	if got := init(a); got.status != 429 {
		t.Errorf("a third session of one user: %d %s", got.status, got.body)
	}
	first.do("DELETE", "")
	if got := init(a); got.status != 200 {
		t.Errorf("after one was deleted: %d %s", got.status, got.body)
	}
	user("b").initialize(version20251125)
	user("c").initialize(version20251125)
	user("d").initialize(version20251125)
	if got := init(user("e")); got.status != 429 && got.status != 503 {
		t.Errorf("a sixth session in all: %d %s", got.status, got.body)
	}
}

func TestASleepingSessionGoesOn(t *testing.T) {
	s := newServer(nil)
	_, url := serve(t, s, &Options{SessionSleep: 20 * time.Millisecond})
	w := (&wire{t: t, url: url}).initialize(version20250618)
	if a := w.call("1", "logging/setLevel", `"level":"warning"`); a.status != 200 {
		t.Fatal(a.body)
	}
	host, err := hostOf(s)
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the session to sleep", func() bool { return len(host.sessions.all()) == 0 })
	if a := w.call("2", "tools/call", `"name":"add","arguments":{"a":1,"b":2}`); !strings.Contains(a.body, `{"sum":3}`) {
		t.Fatalf("%d %s", a.status, a.body)
	}
	woken := host.sessions.all()
	if len(woken) != 1 || woken[0].rec.Level != "warning" || woken[0].ss.InitializeParams().ProtocolVersion != version20250618 || woken[0].ss.ID() != w.sid {
		t.Errorf("woken as another: %+v", woken)
	}
	if woken[0].ss.InitializeParams().Capabilities.RootsV2 == nil {
		t.Error("the roots capability was lost in sleep")
	}
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited in vain for %s", what)
}

func TestAnotherProcessGoesOnWithTheSession(t *testing.T) {
	records := newRecords(t)
	_, first := serve(t, newServer(nil), &Options{Records: records})
	_, second := serve(t, newServer(nil), &Options{Records: records})
	w := (&wire{t: t, url: first}).initialize(version20251125)
	w.url = second
	if a := w.call("1", "tools/call", `"name":"add","arguments":{"a":1,"b":2}`); !strings.Contains(a.body, `{"sum":3}`) {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := w.do("DELETE", ""); a.status != 204 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	w.url = first
	if a := w.call("2", "ping", ""); a.status != 404 {
		t.Errorf("a session deleted elsewhere: %d %s", a.status, a.body)
	}
}

func TestACallIsCancelledByNotification(t *testing.T) {
	s := newServer(nil)
	started, stopped := make(chan struct{}), make(chan error, 1)
	mcp.AddTool(s, &mcp.Tool{Name: "wait"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		close(started)
		<-ctx.Done()
		stopped <- context.Cause(ctx)
		return nil, nil, ctx.Err()
	})
	_, url := serve(t, s, nil)
	w := (&wire{t: t, url: url}).initialize(version20251125)
	var wg sync.WaitGroup
	var a *answered
	wg.Go(func() { a = w.call("7", "tools/call", `"name":"wait"`) })
	<-started
	if a := w.call("7", "ping", ""); a.code() != -32600 {
		t.Errorf("an id in use: %s", a.body)
	}
	if c := w.do("POST", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}`); c.status != 202 {
		t.Fatal(c.body)
	}
	if err := <-stopped; err != errCancelled {
		t.Errorf("cause: %v", err)
	}
	wg.Wait()
	if a.code() != codeCancelled {
		t.Errorf("the cancelled request's answer: %s", a.body)
	}
}

func TestClosingTheStreamCancelsAModernCallAndNoLegacyOne(t *testing.T) {
	s := newServer(nil)
	started := make(chan context.Context, 2)
	release := make(chan struct{})
	mcp.AddTool(s, &mcp.Tool{Name: "wait"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		started <- ctx
		select {
		case <-ctx.Done():
		case <-release:
		}
		return nil, nil, ctx.Err()
	})
	_, url := serve(t, s, &Options{StreamAfter: 20 * time.Millisecond})
	w := &wire{t: t, url: url}
	body, hd := modernRequest("1", "tools/call", "wait", `"name":"wait"`, nil)
	st := w.stream("POST", body, hd...)
	ctx := <-started
	st.close()
	select {
	case <-ctx.Done():
	case <-time.After(5 * time.Second):
		t.Error("the modern call goes on without its client")
	}
	legacy := w.initialize(version20251125)
	st = legacy.stream("POST", request("1", "tools/call", `"name":"wait"`))
	ctx = <-started
	st.close()
	select {
	case <-ctx.Done():
		t.Error("a lost connection cancelled a legacy call")
	case <-time.After(100 * time.Millisecond):
	}
	close(release)
}

package mcphttp

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A batch is answered as JSON until one of its requests has something to say before its
// answer: then it is a stream, and what was answered before must be on it too.
func TestABatchThatBecomesAStreamKeepsTheAnswersItHas(t *testing.T) {
	answered := make(chan bool)
	s := newServer(nil)
	mcp.AddTool(s, &mcp.Tool{Name: "late"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		<-answered
		return nil, nil, req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: "p", Progress: 1})
	})
	s.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			if method == "ping" {
				// The answer is given when this has returned and the reply has taken it.
				r := callOf(ctx).reply.(*postReply)
				go func() {
					waitFor(t, "the answer to the ping", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.due == 1 })
					close(answered)
				}()
			}
			return next(ctx, method, req)
		}
	})
	_, url := serve(t, s, nil)
	w := (&wire{t: t, url: url}).initialize(version20250326)
	a := w.do("POST", `[`+request("1", "ping", "")+`,`+request("2", "tools/call", `"name":"late"`)+`]`)
	got := map[string]bool{}
	for _, ev := range parseEvents([]byte(a.body)) {
		var m struct{ ID json.RawMessage }
		if json.Unmarshal([]byte(ev.data), &m) == nil && m.ID != nil {
			got[string(m.ID)] = true
		}
	}
	if len(got) != 2 {
		t.Errorf("answered: %v\n%s", got, a.body)
	}
	// And who comes again is told the same.
	evs := parseEvents([]byte(a.body))
	first, _, _ := strings.Cut(evs[0].id, "~")
	if again := w.do("GET", "", "Last-Event-ID", first+"~0"); !strings.Contains(again.body, `"id":1`) || strings.Contains(again.body, "unknown") {
		t.Errorf("resumed: %d %s", again.status, again.body)
	}
}

func TestBatchesThatAreNone(t *testing.T) {
	_, url := serve(t, newServer(nil), nil)
	w := (&wire{t: t, url: url}).initialize(version20250326)
	ping := request("1", "ping", "")
	for name, body := range map[string]string{
		"nothing": `[]`, "nested": `[[` + ping + `]]`, "a number": `[1]`, "null": `[null]`, "an id twice": `[` + ping + `,` + ping + `]`,
		"an id twice, written in another way": `[` + request(`"a"`, "ping", "") + `,` + request(`"\u0061"`, "ping", "") + `]`,
		"initialize":                          `[{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-03-26","capabilities":{},"clientInfo":{"name":"w","version":"1"}}}]`,
		"a request that is none":              `[` + ping + `,{"jsonrpc":"2.0","id":2}]`,
		"another era":                         `[` + ping + `,{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{` + clientMeta + `}}]`,
		"cut":                                 `[` + ping + `,`, "two": `[` + ping + `][` + ping + `]`,
	} {
		if a := w.do("POST", body); a.status != 400 || (a.code() != -32600 && a.code() != -32700) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	// Responses and notifications alone are taken, with nothing to say.
	if a := w.do("POST", `[{"jsonrpc":"2.0","id":"nobody asked","result":{}},{"jsonrpc":"2.0","method":"notifications/none"}]`); a.status != 202 || a.body != "" {
		t.Errorf("responses: %d %s", a.status, a.body)
	}
	if a := w.do("POST", fmt.Sprintf(`[%s,{"jsonrpc":"2.0","id":2,"result":{}},{"jsonrpc":"2.0","method":"notifications/none"}]`, ping)); a.status != 200 || strings.Count(a.body, `"id"`) != 1 {
		t.Errorf("a mixture: %d %s", a.status, a.body)
	}
}

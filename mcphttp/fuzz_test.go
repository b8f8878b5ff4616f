package mcphttp

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/causeway-mcp/causeway/internal/jsonrpc"
	sdkrpc "github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func FuzzEventID(f *testing.F) {
	for _, s := range []string{"g~1", "c0a.MQ~7", "~", "g~-1", "g~01", "c.~9", "g~549755813888", "a/b~1", strings.Repeat("x", 500) + "~1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := parseEventID(s)
		if err != nil {
			return
		}
		if id.String() != s {
			t.Errorf("%q is read as %q", s, id.String())
		}
		if strings.ContainsAny(s, "/\r\n \x00") {
			t.Errorf("%q could leave its place in a key or an event", s)
		}
		for _, raw := range id.requestIDs() {
			if jsonrpc.ValidID([]byte(raw)) && !json.Valid([]byte(raw)) {
				t.Errorf("%q passes for an id", raw)
			}
		}
	})
}

func FuzzSessionKey(f *testing.F) {
	for _, s := range []string{"0-ABC", "0-AAAA", "abcd2345-AAAA", "../x-y", "-", "a-b/c", "a-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key := sessionKey(s)
		if key != "" && (!strings.HasPrefix(key, sessionPrefix) || strings.Count(key, "/") != strings.Count(sessionPrefix, "/")+1) {
			t.Errorf("%q becomes the key %q", s, key)
		}
	})
}

// A state that this handler did not seal for this very request never opens.
func FuzzRequestState(f *testing.F) {
	s := newServer(nil)
	h := NewHandler(func(*http.Request) *mcp.Server { return s }, nil)
	host, err := hostOf(s)
	if err != nil {
		f.Fatal(err)
	}
	c := &call{h: h, host: host, user: "ada", method: methodCallTool, target: "t", arguments: []byte(`{"a":1}`)}
	sealed, err := c.sealRound(&roundState{Call: "c", Round: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add(sealed[:40])
	f.Add("")
	f.Add("!!!!")
	f.Fuzz(func(t *testing.T, state string) {
		if _, err := c.openRound(state); err == nil && state != sealed {
			t.Errorf("%q opens", state)
		}
	})
}

// Whatever a client posts, it gets an answer that is proper HTTP and proper JSON,
// the process lives, and nothing but a message that the SDK's decoder takes too is
// carried out.
func FuzzPost(f *testing.F) {
	s, _ := newBusyServer(f)
	h := NewHandler(func(*http.Request) *mcp.Server { return s }, &Options{MaxDepth: 50})
	rec := httptest.NewRecorder()
	first := httptest.NewRequest("POST", "/", strings.NewReader(request("0", "initialize", `"protocolVersion":"2025-03-26","capabilities":{},"clientInfo":{"name":"w","version":"1"}`)))
	first.Header.Set("Content-Type", "application/json")
	h.ServeHTTP(rec, first)
	sid := rec.Header().Get("Mcp-Session-Id")
	for _, body := range []string{
		request("1", "tools/list", ""), request(`"x"`, "tools/call", `"name":"add","arguments":{"a":1,"b":2}`),
		request("1", "tools/list", clientMeta), request("1", "tools/call", `"name":"add","arguments":{"a":1},`+clientMeta),
		request("1", "subscriptions/listen", `"notifications":{},`+clientMeta), request("1", "server/discover", clientMeta),
		`[` + request("1", "ping", "") + `,` + request("2", "ping", "") + `]`, `{"jsonrpc":"2.0","id":1,"result":{}}`,
		`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":2}}`,
		request("1", "prompts/get", `"name":"p","requestState":"x","inputResponses":{"q":{}}`), "", "[]", "{}", "null", `"x"`,
	} {
		f.Add([]byte(body), "tools/list", "", byte(0))
		f.Add([]byte(body), "tools/call", "add", byte(1))
	}
	f.Fuzz(func(t *testing.T, body []byte, method, name string, mode byte) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r := httptest.NewRequest("POST", "/", bytes.NewReader(body)).WithContext(ctx)
		r.Header = http.Header{"Content-Type": {"application/json"}}
		if mode&1 != 0 {
			r.Header["Mcp-Protocol-Version"] = []string{version20260728}
			r.Header["Mcp-Method"], r.Header["Mcp-Name"] = []string{method}, []string{name}
		} else {
			r.Header["Mcp-Session-Id"] = []string{sid}
		}
		if bytes.Contains(body, []byte("listen")) {
			cancel() // a subscription lasts as long as its client
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if (w.Code >= 500 && ctx.Err() == nil) || w.Code < 200 {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
		if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && w.Body.Len() > 0 && !json.Valid(w.Body.Bytes()) {
			t.Errorf("not JSON: %s", w.Body)
		}
		if bytes.Contains(w.Body.Bytes(), []byte(`"result"`)) && !jsonrpc.IsBatch(body) {
			if _, err := sdkrpc.DecodeMessage(body); err != nil {
				t.Errorf("carried out, though the SDK's decoder refuses it: %v", err)
			}
		}
	})
}

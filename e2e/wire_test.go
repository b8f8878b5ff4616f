package e2e

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

const (
	initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"wire","version":"1"}}}`
	discover   = `{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
	addLine    = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":2,"b":40},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
)

// A page on another site must not reach a server on its visitor's machine, by any
// transport.
func TestForeignOriginsAreRefusedOnEveryTransport(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	for _, tc := range []struct {
		name, method, path, body string
		header                   map[string]string
		allowed                  int // status for a page of this machine
	}{
		{"initialize", "POST", "/mcp", initialize, nil, 200},
		{"2026-07-28", "POST", "/mcp", discover, map[string]string{"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "server/discover"}, 200},
		{"a GET stream", "GET", "/mcp", "", map[string]string{"Accept": "text/event-stream"}, 200},
		{"a GET stream of a session", "GET", "/mcp", "", map[string]string{"Accept": "text/event-stream", "Mcp-Session-Id": "made-up", "MCP-Protocol-Version": "2025-11-25"}, 404},
		{"ending a session", "DELETE", "/mcp", "", map[string]string{"Mcp-Session-Id": "made-up", "MCP-Protocol-Version": "2025-11-25"}, 404},
		{"HTTP+SSE", "GET", "/sse", "", map[string]string{"Accept": "text/event-stream"}, 200},
	} {
		for origin, want := range map[string]int{
			"https://evil.example":             403,
			"http://127.0.0.1.evil.example":    403,
			"http://localhost.evil.example:80": 403,
			"null":                             403,
			s.url:                              tc.allowed,
			"":                                 tc.allowed,
		} {
			t.Run(tc.name+" from "+origin, func(t *testing.T) {
				header := map[string]string{"Origin": origin, "Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
				for k, v := range tc.header {
					header[k] = v
				}
				if got, _ := s.send(t, tc.method, tc.path, tc.body, header); got != want {
					t.Errorf("status %d, want %d", got, want)
				}
			})
		}
	}

	for origin, want := range map[string]int{
		"https://evil.example": 403,
		"null":                 403,
		s.url:                  101,
		"":                     101,
	} {
		t.Run("WebSocket from "+origin, func(t *testing.T) {
			header := http.Header{}
			if origin != "" {
				header.Set("Origin", origin)
			}
			conn, res, err := websocket.Dial(t.Context(), s.url+"/mcp", &websocket.DialOptions{HTTPHeader: header, Subprotocols: []string{"mcp"}})
			if res == nil {
				t.Fatal(err)
			}
			if conn != nil {
				conn.CloseNow()
			}
			if res.StatusCode != want {
				t.Errorf("status %d, want %d", res.StatusCode, want)
			}
		})
	}
}

// A foreign Host is how DNS rebinding reaches a server on loopback.
func TestForeignHostsAreRefusedOnLoopback(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	for _, path := range []string{"/mcp", "/sse"} {
		for _, method := range []string{"GET", "POST"} {
			status, body := s.send(t, method, path, initialize, map[string]string{
				"Host": "evil.example", "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
			})
			if status < 400 || status > 499 {
				t.Errorf("%s %s with Host evil.example: status %d (%s), want 4xx", method, path, status, body)
			}
		}
	}
}

func TestMalformedRequestsAreAnsweredAndTheServerLives(t *testing.T) {
	t.Parallel()
	s := startDemo(t)
	modern := map[string]string{"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "add"}
	for _, tc := range []struct {
		name, body string
		header     map[string]string
		status     int
		says       string
	}{
		{"no JSON", `{"jsonrpc"`, nil, 400, "-32700"},
		{"no JSON-RPC", `{"hello":"world"}`, nil, 400, "-32600"},
		{"another content type", initialize, map[string]string{"Content-Type": "text/plain"}, 415, ""},
		{"a body over 4 MiB", `{"jsonrpc":"2.0","id":1,"method":"` + strings.Repeat("x", 5<<20) + `"}`, nil, 413, ""},
		{"JSON nested 100,000 deep", strings.Repeat("[", 100_000), nil, 400, ""},
		{"a session nobody has", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, map[string]string{"Mcp-Session-Id": "made-up", "MCP-Protocol-Version": "2025-11-25"}, 404, ""},
		{"a header that contradicts the body", addLine, map[string]string{"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "subtract"}, 400, "-32020"},
		{"a header missing", addLine, map[string]string{"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call"}, 400, "-32020"},
		{"a version from the future", strings.ReplaceAll(addLine, "2026-07-28", "2099-01-01"), map[string]string{"MCP-Protocol-Version": "2099-01-01", "Mcp-Method": "tools/call", "Mcp-Name": "add"}, 400, "-32022"},
		{"a method of an era gone by", strings.ReplaceAll(discover, "server/discover", "ping"), map[string]string{"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "ping"}, 404, "-32601"},
		{"a good one after all that", addLine, modern, 200, `"42"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			header := map[string]string{"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
			for k, v := range tc.header {
				header[k] = v
			}
			status, body := s.send(t, "POST", "/mcp", tc.body, header)
			if status != tc.status || !strings.Contains(body, tc.says) {
				t.Errorf("status %d, body %.300s; want %d and %s", status, body, tc.status, tc.says)
			}
		})
	}
}

// send makes one request and returns what the head and, unless it is an endless
// stream, the body of the answer say.
func (s *server) send(t *testing.T, method, path, body string, header map[string]string) (status int, text string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		if k == "Host" {
			req.Host = v
		} else if v != "" {
			req.Header.Set(k, v)
		}
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if method == "GET" && res.StatusCode == 200 {
		return res.StatusCode, ""
	}
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(data)
}

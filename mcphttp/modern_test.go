package mcphttp

import (
	"strings"
	"testing"
)

// The conditions of 2026-07-28, each with the status, the code and the word that
// its answer must have.
func TestModernRefusals(t *testing.T) {
	_, url := serve(t, newServer(nil), nil)
	w := &wire{t: t, url: url}
	const v = version20260728
	meta := clientMeta
	for _, tt := range []struct {
		name   string
		body   string
		header []string
		status int
		code   int
		says   string
	}{
		{"no _meta", request("1", "tools/list", `"x":1`), []string{"MCP-Protocol-Version", v, "Mcp-Method", "tools/list"}, 400, -32602, "protocolVersion"},
		{"no params at all", request("1", "tools/list", ""), []string{"MCP-Protocol-Version", v, "Mcp-Method", "tools/list"}, 400, -32602, "protocolVersion"},
		{"no client capabilities", request("1", "tools/list", `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}`), []string{"MCP-Protocol-Version", v, "Mcp-Method", "tools/list"}, 400, -32602, "clientCapabilities"},
		{"capabilities that are no object", request("1", "tools/list", `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":[]}`), []string{"MCP-Protocol-Version", v, "Mcp-Method", "tools/list"}, 400, -32602, "clientCapabilities"},
		{"_meta without the version header", request("1", "tools/list", meta), []string{"Mcp-Method", "tools/list"}, 400, -32020, "MCP-Protocol-Version"},
		{"a version header other than _meta's", request("1", "tools/list", meta), []string{"MCP-Protocol-Version", "2027-01-01", "Mcp-Method", "tools/list"}, 400, -32020, "MCP-Protocol-Version"},
		{"the version header twice", request("1", "tools/list", meta), []string{"MCP-Protocol-Version", v, "+MCP-Protocol-Version", v, "Mcp-Method", "tools/list"}, 400, -32020, "MCP-Protocol-Version"},
		{"a version nobody has", strings.ReplaceAll(request("1", "tools/list", meta), "2026-07-28", "v999.0.0"), []string{"MCP-Protocol-Version", "v999.0.0", "Mcp-Method", "tools/list"}, 400, -32022, "v999.0.0"},
		{"no Mcp-Method", request("1", "tools/list", meta), []string{"MCP-Protocol-Version", v}, 400, -32020, "Mcp-Method"},
		{"Mcp-Method of another method", request("1", "tools/list", meta), []string{"MCP-Protocol-Version", v, "Mcp-Method", "prompts/list"}, 400, -32020, "Mcp-Method"},
		{"Mcp-Method in another case", request("1", "tools/list", meta), []string{"MCP-Protocol-Version", v, "Mcp-Method", "TOOLS/LIST"}, 400, -32020, "Mcp-Method"},
		{"Mcp-Method twice", request("1", "tools/list", meta), []string{"MCP-Protocol-Version", v, "Mcp-Method", "tools/list", "+Mcp-Method", "tools/list"}, 400, -32020, "Mcp-Method"},
		{"no Mcp-Name", request("1", "tools/call", `"name":"add",`+meta), []string{"MCP-Protocol-Version", v, "Mcp-Method", "tools/call"}, 400, -32020, "Mcp-Name"},
		{"Mcp-Name of another tool", request("1", "tools/call", `"name":"add",`+meta), []string{"MCP-Protocol-Version", v, "Mcp-Method", "tools/call", "Mcp-Name", "sub"}, 400, -32020, "Mcp-Name"},
		{"Mcp-Name in bad Base64", request("1", "tools/call", `"name":"add",`+meta), []string{"MCP-Protocol-Version", v, "Mcp-Method", "tools/call", "Mcp-Name", "=?base64?YWR?="}, 400, -32020, "Mcp-Name"},
		{"an unknown method", request("1", "unknown/method", meta), []string{"MCP-Protocol-Version", v, "Mcp-Method", "unknown/method"}, 404, -32601, "unknown/method"},
		{"initialize", request("1", "initialize", meta), []string{"MCP-Protocol-Version", v, "Mcp-Method", "initialize"}, 404, -32601, "initialize"},
		{"ping", request("1", "ping", meta), []string{"MCP-Protocol-Version", v, "Mcp-Method", "ping"}, 404, -32601, "ping"},
		{"logging/setLevel", request("1", "logging/setLevel", meta), []string{"MCP-Protocol-Version", v, "Mcp-Method", "logging/setLevel"}, 404, -32601, "setLevel"},
		{"resources/subscribe", request("1", "resources/subscribe", meta), []string{"MCP-Protocol-Version", v, "Mcp-Method", "resources/subscribe"}, 404, -32601, "subscribe"},
		{"a notification's method as a request", request("1", "notifications/cancelled", meta), []string{"MCP-Protocol-Version", v, "Mcp-Method", "notifications/cancelled"}, 404, -32601, "cancelled"},
		{"a log level that is none", strings.Replace(request("1", "tools/list", meta), `"_meta":{`, `"_meta":{"io.modelcontextprotocol/logLevel":"loud",`, 1), []string{"MCP-Protocol-Version", v, "Mcp-Method", "tools/list"}, 400, -32602, "log level"},
		{"a batch", `[` + request("1", "tools/list", meta) + `]`, []string{"MCP-Protocol-Version", v}, 400, -32600, "batch"},
		{"a batch without the header", `[` + request("1", "tools/list", meta) + `]`, nil, 400, -32600, "batch"},
		{"a response", `{"jsonrpc":"2.0","id":1,"result":{}}`, []string{"MCP-Protocol-Version", v}, 400, -32600, "responses"},
		{"no JSON", `{"jsonrpc":`, []string{"MCP-Protocol-Version", v}, 400, -32700, "JSON"},
		{"no request", `{"jsonrpc":"2.0","id":1}`, []string{"MCP-Protocol-Version", v}, 400, -32600, "method"},
		{"a duplicate member", `{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}`, []string{"MCP-Protocol-Version", v}, 400, -32600, "method"},
		{"a member in another case", `{"jsonrpc":"2.0","id":1,"method":"tools/list","Method":"tools/call"}`, []string{"MCP-Protocol-Version", v}, 400, -32600, "Method"},
		{"a duplicate name in params", request("1", "tools/call", `"name":"add","name":"sub",`+meta), []string{"MCP-Protocol-Version", v, "Mcp-Method", "tools/call", "Mcp-Name", "add"}, 400, -32602, "name"},
		{"JSON nested too deep", request("1", "tools/call", `"name":"add","arguments":`+strings.Repeat(`{"a":`, 1001)+`1`+strings.Repeat(`}`, 1001)+`,`+meta), []string{"MCP-Protocol-Version", v}, 400, -32700, "deep"},
		{"an unknown tool", request("1", "tools/call", `"name":"nix",`+meta), []string{"MCP-Protocol-Version", v, "Mcp-Method", "tools/call", "Mcp-Name", "nix"}, 200, -32602, "nix"},
		{"an unknown resource", request("1", "resources/read", `"uri":"x:y",`+meta), []string{"MCP-Protocol-Version", v, "Mcp-Method", "resources/read", "Mcp-Name", "x:y"}, 200, -32602, ""},
		{"a forged requestState", request("1", "tools/call", `"name":"name","requestState":"AAAA",`+meta), []string{"MCP-Protocol-Version", v, "Mcp-Method", "tools/call", "Mcp-Name", "name"}, 200, -32602, "requestState"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := w.do("POST", tt.body, tt.header...)
			if a.status != tt.status || a.code() != tt.code {
				t.Fatalf("got %d and %d, want %d and %d: %s", a.status, a.code(), tt.status, tt.code, a.body)
			}
			if !strings.Contains(a.msg.Error.Message, tt.says) {
				t.Errorf("the message does not say %q: %s", tt.says, a.msg.Error.Message)
			}
			if strings.HasPrefix(tt.body, `{"jsonrpc":"2.0","id":1,"method":"`) && !strings.Contains(tt.name, "deep") && string(a.msg.ID) != "1" {
				t.Errorf("the error does not echo the id: %s", a.body)
			}
		})
	}
}

func TestModernAcceptances(t *testing.T) {
	_, url := serve(t, newServer(nil), nil)
	w := &wire{t: t, url: url}
	for _, tt := range []struct {
		name, method, target, params string
		header                       []string
		has                          string
	}{
		{"server/discover", "server/discover", "", "", nil, `"supportedVersions":["2026-07-28"`},
		{"tools/list is marked and may be cached", "tools/list", "", "", nil, `"ttlMs":0,"cacheScope":"public"`},
		{"a tool", "tools/call", "add", `"name":"add","arguments":{"a":1,"b":2}`, nil, `"structuredContent":{"sum":3}`},
		{"Mcp-Name in Base64", "tools/call", "=?base64?YWRk?=", `"name":"add","arguments":{"a":1,"b":2}`, nil, `{"sum":3}`},
		{"spaces around Mcp-Name", "tools/call", "  add  ", `"name":"add","arguments":{"a":1,"b":2}`, nil, `{"sum":3}`},
		{"members nobody knows", "tools/call", "add", `"name":"add","task":{"ttl":1},"arguments":{"a":1,"b":2}`, nil, `{"sum":3}`},
		{"a session id and an event id, which mean nothing here", "tools/call", "add", `"name":"add","arguments":{"a":1,"b":2}`, []string{"Mcp-Session-Id", "0-ABC", "Last-Event-Id", "x~1"}, `{"sum":3}`},
		{"wrong arguments are the tool's error", "tools/call", "add", `"name":"add","arguments":{"a":"one"}`, nil, `"isError":true`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := w.modern(`"r-1"`, tt.method, tt.target, tt.params, tt.header...)
			if a.status != 200 || a.msg.Error != nil || string(a.msg.ID) != `"r-1"` {
				t.Fatalf("%d %s", a.status, a.body)
			}
			for _, want := range []string{`"resultType":"complete"`, `"io.modelcontextprotocol/serverInfo":{"name":"test","version":"1.0.0"}`, tt.has} {
				if !strings.Contains(a.body, want) {
					t.Errorf("no %s in %s", want, a.body)
				}
			}
			if a.header.Get("Mcp-Session-Id") != "" {
				t.Error("a session id in 2026-07-28")
			}
		})
	}
}

func TestModernNotificationsAreAccepted(t *testing.T) {
	_, url := serve(t, newServer(nil), nil)
	w := &wire{t: t, url: url}
	if a := w.do("POST", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`, "MCP-Protocol-Version", version20260728); a.status != 202 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestModernHasNoGetAndNoDelete(t *testing.T) {
	_, url := serve(t, newServer(nil), nil)
	w := &wire{t: t, url: url}
	for _, m := range []string{"GET", "DELETE"} {
		if a := w.do(m, "", "MCP-Protocol-Version", version20260728); a.status != 405 || a.header.Get("Allow") != "POST" {
			t.Errorf("%s: %d, Allow %q", m, a.status, a.header.Get("Allow"))
		}
	}
}

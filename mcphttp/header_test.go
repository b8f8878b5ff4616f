package mcphttp

import (
	"strings"
	"testing"
)

// Headers that say two things, or nothing that can be read, decide nothing.
func TestHeadersThatAreRepeatedOrJunkAreRefused(t *testing.T) {
	_, url := serve(t, newServer(nil), nil)
	w := &wire{t: t, url: url}
	const add = `"name":"add","arguments":{"a":1,"b":2}`
	for name, hd := range map[string][]string{
		"two versions":       {"+MCP-Protocol-Version", version20260728},
		"an older one too":   {"+MCP-Protocol-Version", version20251125},
		"two methods":        {"+Mcp-Method", "tools/call"},
		"two names":          {"+Mcp-Name", "add"},
		"no Base64":          {"Mcp-Name", "=?base64?*?="},
		"Base64 cut":         {"Mcp-Name", "=?base64?YWRk"},
		"Base64 of no text":  {"Mcp-Name", "=?base64?/w==?="},
		"Base64 twice":       {"Mcp-Name", "=?base64?PT9iYXNlNjQ/WVdSaz89?="},
		"Base64 of more":     {"Mcp-Name", "=?base64?YWRkAA==?="},
		"Base64 unpadded":    {"Mcp-Name", "=?base64?YQ?="},
		"not ASCII":          {"Mcp-Name", "ädd"},
		"a method not ASCII": {"Mcp-Method", "tools/cäll"},
		"a long name":        {"Mcp-Name", strings.Repeat("add", 50_000)},
		"another case":       {"Mcp-Method", "Tools/Call"},
		"a list":             {"Mcp-Name", "add, add"},
	} {
		a := w.modern("1", "tools/call", "add", add, hd...)
		if a.status != 400 || a.code() != -32020 || len(a.body) > 1000 {
			t.Errorf("%s: %d %.300s", name, a.status, a.body)
		}
	}
	s := w.initialize(version20251125)
	for name, hd := range map[string][]string{
		"two versions":   {"MCP-Protocol-Version", version20251125, "+MCP-Protocol-Version", version20251125},
		"two eras":       {"MCP-Protocol-Version", version20251125, "+MCP-Protocol-Version", version20260728},
		"not ASCII":      {"MCP-Protocol-Version", "2025-11-2５"},
		"a long version": {"MCP-Protocol-Version", strings.Repeat("1", 100_000)},
		"two sessions":   {"+Mcp-Session-Id", s.sid},
	} {
		for _, method := range []string{"POST", "GET", "DELETE"} {
			if a := s.do(method, request("1", "ping", ""), hd...); a.status != 400 || len(a.body) > 1000 {
				t.Errorf("%s: %s: %d %.300s", name, method, a.status, a.body)
			}
		}
	}
	if a := s.call("1", "ping", ""); a.status != 200 {
		t.Errorf("the session is gone: %d %s", a.status, a.body)
	}
}

package mcphttp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// discard is a response writer that costs nothing.
type discard struct{ h http.Header }

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

// BenchmarkCall is one tools/call of a typed tool without the network: what the
// handler itself costs. `make bench` measures the whole beside net/http.
func BenchmarkCall(b *testing.B) {
	s := newServer(nil)
	AddTool(s, &mcp.Tool{Name: "sum"}, func(_ context.Context, _ *mcp.CallToolRequest, in addIn) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint(in.A + in.B)}}}, nil, nil
	})
	h := NewHandler(func(*http.Request) *mcp.Server { return s }, nil)
	rec := httptest.NewRecorder()
	init := httptest.NewRequest("POST", "/", strings.NewReader(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"w","version":"1"}}}`))
	init.Header = http.Header{"Content-Type": {"application/json"}}
	h.ServeHTTP(rec, init)
	sid := rec.Header().Get("Mcp-Session-Id")
	modern, hd := modernRequest("1", "tools/call", "sum", `"name":"sum","arguments":{"a":1,"b":2}`, nil)
	for _, bm := range []struct {
		name, body string
		header     []string
	}{
		{"session", request("1", "tools/call", `"name":"sum","arguments":{"a":1,"b":2}`), []string{"Mcp-Session-Id", sid, "Mcp-Protocol-Version", version20251125}},
		{"2026-07-28", modern, hd},
		{"session, the SDK's typed tool", request("1", "tools/call", `"name":"add","arguments":{"a":1,"b":2}`), []string{"Mcp-Session-Id", sid, "Mcp-Protocol-Version", version20251125}},
	} {
		header := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
		for i := 0; i < len(bm.header); i += 2 {
			header.Set(bm.header[i], bm.header[i+1])
		}
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			r := httptest.NewRequest("POST", "/", nil)
			r.Header = header
			body := bytes.NewReader(nil)
			for b.Loop() {
				body.Reset([]byte(bm.body))
				r.Body = io.NopCloser(body)
				r.ContentLength = int64(len(bm.body))
				h.ServeHTTP(&discard{http.Header{}}, r)
			}
		})
	}
}

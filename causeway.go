// Package causeway builds and serves remote MCP servers: a server of the official
// go-sdk becomes reachable in every protocol era, over Streamable HTTP, HTTP+SSE
// and WebSocket, on one address.
//
//	s := mcp.NewServer(&mcp.Implementation{Name: "Demo", Version: "1.0.0"}, nil)
//	causeway.AddTool(s, &mcp.Tool{Name: "add"}, add)
//	causeway.Main(s)
//
// [Main] serves one server at /mcp. An [App] serves several, next to handlers of
// your own, and is what settings, limits and the drain on shutdown belong to. A
// program with an http.Server of its own mounts [App.Handler], or goes one room
// down and uses mcphttp.NewHandler.
//
// This package is a face: what it does is done by mcphttp and the packages under
// it, and everything it returns can be had from them directly.
package causeway

import (
	"context"
	"fmt"

	"github.com/causeway-mcp/causeway/mcphttp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// AddTool adds a typed tool to s. It has the shape of the SDK's mcp.AddTool and can
// replace it anywhere: schemas are inferred from In and Out unless t has them, a
// plain error of h becomes a result with IsError, a *jsonrpc.Error a protocol error.
// What it adds is speed: arguments are decoded and validated once, against schemas
// compiled when the tool is added.
//
// It panics, as the SDK's does, when In or Out have no valid schema: that is a
// mistake in the program, found when it starts.
func AddTool[In, Out any](s *mcp.Server, t *mcp.Tool, h mcp.ToolHandlerFor[In, Out]) {
	mcphttp.AddTool(s, t, h)
}

// AddTask adds a typed tool whose calls become tasks for clients of 2026-07-28 that
// declare the Tasks extension: they get an id at once and ask for the state when they
// like. For all other clients it is a tool that takes its time. The rules of handlers
// are those of [mcphttp.AddTask].
func AddTask[In, Out any](s *mcp.Server, t *mcp.Tool, h mcp.ToolHandlerFor[In, Out], opts mcphttp.TaskOptions) {
	mcphttp.AddTask(s, t, h, opts)
}

// Elicit asks the person on the other side. It works in every protocol era, inside
// a handler and with the handler's ctx.
//
// Up to 2025-11-25 it sends elicitation/create and waits for the answer. In
// 2026-07-28 the first call returns an error wrapping [mcphttp.ErrAsked]: return it
// at once, and the handler runs again, from its start, with the answer in hand.
// Therefore ask first and write afterwards: an ask after a write in the same call
// fails with [mcphttp.ErrAskAfterWrite], in every era.
func Elicit(ctx context.Context, p *mcp.ElicitParams) (*mcp.ElicitResult, error) {
	return mcphttp.Elicit(ctx, p)
}

// Sample asks the model of the client for a completion. The rules are those of
// [Elicit].
func Sample(ctx context.Context, p *mcp.CreateMessageParams) (*mcp.CreateMessageResult, error) {
	return mcphttp.Sample(ctx, p)
}

// ListRoots asks the client which folders it works on. The rules are those of
// [Elicit].
func ListRoots(ctx context.Context) (*mcp.ListRootsResult, error) {
	return mcphttp.ListRoots(ctx)
}

// Text is a tool result of one text block: v as fmt.Sprint prints it.
func Text(v any) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint(v)}}}
}

// Textf is a tool result of one text block, formatted as fmt.Sprintf does.
func Textf(format string, args ...any) *mcp.CallToolResult {
	return Text(fmt.Sprintf(format, args...))
}

// TextResource is the result of reading a resource that is one text: v as
// fmt.Sprint prints it. The server fills in the URI.
func TextResource(v any) *mcp.ReadResourceResult {
	return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{MIMEType: "text/plain", Text: fmt.Sprint(v)}}}
}

// Main serves s at /mcp, and for clients of 2024-11-05 at /sse, until the process
// gets SIGINT or SIGTERM. It reads the process's flags, of which -addr (default
// 127.0.0.1:8787) is the one most programs need; see [App.Run] for the others. It
// does not return: it exits with 0 after a drain, with 1 after a failure and with 2
// when a flag makes no sense, having said why on standard error.
func Main(s *mcp.Server) {
	m := Server(s)
	m.SSEPath = "/sse"
	app := &App{}
	app.Mount("/mcp", m)
	app.Main()
}

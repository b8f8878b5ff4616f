package main

import (
	"context"
	"net/http"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// mcpgoHandler is mcp-go with the checks that the other servers make too: arguments
// against the schema, and a session id only if this server gave it out. Both are
// off by default there. It answers as JSON: it streams only when a handler has
// notified something before, which would be another amount of work.
func mcpgoHandler(stateless bool) http.Handler {
	s := server.NewMCPServer("bench", "1.0.0",
		server.WithToolCapabilities(false), server.WithInputSchemaValidation(), server.WithStrictInputSchemaDefault())
	s.AddTool(
		mcp.NewTool(toolName, mcp.WithDescription(toolDescription),
			mcp.WithNumber("a", mcp.Required()), mcp.WithNumber("b", mcp.Required())),
		mcp.NewTypedToolHandler(func(_ context.Context, _ mcp.CallToolRequest, in addInput) (*mcp.CallToolResult, error) {
			return mcp.NewToolResultText(sum(in.A, in.B)), nil
		}))
	if stateless {
		return server.NewStreamableHTTPServer(s, server.WithStateLess(true))
	}
	return server.NewStreamableHTTPServer(s, server.WithStateful(true))
}

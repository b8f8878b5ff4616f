package main

import (
	"context"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func add(_ context.Context, _ *mcp.CallToolRequest, in addInput) (*mcp.CallToolResult, any, error) {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: sum(in.A, in.B)}}}, nil, nil
}

// sdkServer is a server as users of go-sdk write it. Both the stock handler and
// Causeway host it.
func sdkServer() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "bench", Version: "1.0.0"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: toolName, Description: toolDescription}, add)
	return s
}

// sdkHandler is the handler that comes with go-sdk. Stateless is its only mode that
// speaks 2026-07-28.
func sdkHandler(stateless, events bool) http.Handler {
	s := sdkServer()
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s },
		&mcp.StreamableHTTPOptions{Stateless: stateless, JSONResponse: !events})
}

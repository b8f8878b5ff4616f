package main

import (
	"net/http"
	"time"

	"github.com/causeway-mcp/causeway/mcphttp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// causewayServer has the tool of Causeway's own AddTool, which takes the same
// handler.
func causewayServer() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "bench", Version: "1.0.0"}, nil)
	mcphttp.AddTool(s, &mcp.Tool{Name: toolName, Description: toolDescription}, add)
	return s
}

// causewayHandler serves s in every era. Zero sleep is the default of the library.
func causewayHandler(s *mcp.Server, events bool, sleep time.Duration) http.Handler {
	return mcphttp.NewHandler(func(*http.Request) *mcp.Server { return s },
		&mcphttp.Options{AlwaysStream: events, SessionSleep: sleep})
}

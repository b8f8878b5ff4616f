// Mcpgo is the same tool on mcp-go, with the checks that the other servers make too:
// arguments against the schema, and a session id only if this server gave it out.
// Both are off by default there. It answers as JSON: it streams only when a handler
// has notified something before, which would be another amount of work.
package main

import (
	"context"
	"flag"
	"net/http"

	"github.com/causeway-mcp/causeway/bench/internal/add"
	"github.com/causeway-mcp/causeway/bench/internal/serve"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

func main() {
	stateless := flag.Bool("stateless", false, "keep no sessions")
	serve.Main(func() http.Handler {
		s := server.NewMCPServer("bench", "1.0.0",
			server.WithToolCapabilities(false), server.WithInputSchemaValidation(), server.WithStrictInputSchemaDefault())
		s.AddTool(
			mcp.NewTool(add.Name, mcp.WithDescription(add.Description),
				mcp.WithNumber("a", mcp.Required()), mcp.WithNumber("b", mcp.Required())),
			mcp.NewTypedToolHandler(tool))
		if *stateless {
			return server.NewStreamableHTTPServer(s, server.WithStateLess(true))
		}
		return server.NewStreamableHTTPServer(s, server.WithStateful(true))
	})
}

func tool(_ context.Context, _ mcp.CallToolRequest, in add.Input) (*mcp.CallToolResult, error) {
	return mcp.NewToolResultText(in.Sum()), nil
}

// Gosdk is a typed tool behind the handler that comes with go-sdk.
package main

import (
	"context"
	"flag"
	"net/http"

	"github.com/causeway-mcp/causeway/bench/internal/add"
	"github.com/causeway-mcp/causeway/bench/internal/serve"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func main() {
	stateless := flag.Bool("stateless", false, "the only mode of the stock handler that speaks 2026-07-28")
	events := flag.Bool("events", false, "answer as an event stream")
	serve.Main(func() http.Handler {
		s := mcp.NewServer(&mcp.Implementation{Name: "bench", Version: "1.0.0"}, nil)
		mcp.AddTool(s, &mcp.Tool{Name: add.Name, Description: add.Description}, tool)
		return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s },
			&mcp.StreamableHTTPOptions{Stateless: *stateless, JSONResponse: !*events})
	})
}

func tool(_ context.Context, _ *mcp.CallToolRequest, in add.Input) (*mcp.CallToolResult, any, error) {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: in.Sum()}}}, nil, nil
}

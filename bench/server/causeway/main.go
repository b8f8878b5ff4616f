// Causeway is the tool of server/gosdk, served by Causeway: registered with its own
// AddTool, or, with -sdk, with go-sdk's and otherwise unmodified.
package main

import (
	"context"
	"flag"
	"net/http"

	"github.com/causeway-mcp/causeway/bench/internal/add"
	"github.com/causeway-mcp/causeway/bench/internal/serve"
	"github.com/causeway-mcp/causeway/mcphttp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func main() {
	sdk := flag.Bool("sdk", false, "register the tool with go-sdk's AddTool")
	events := flag.Bool("events", false, "answer as an event stream")
	sleep := flag.Duration("sleep", 0, "idle `time` after which sessions leave memory, 0 for the library's default")
	serve.Main(func() http.Handler {
		s := mcp.NewServer(&mcp.Implementation{Name: "bench", Version: "1.0.0"}, nil)
		t := &mcp.Tool{Name: add.Name, Description: add.Description}
		if *sdk {
			mcp.AddTool(s, t, tool)
		} else {
			mcphttp.AddTool(s, t, tool)
		}
		return mcphttp.NewHandler(func(*http.Request) *mcp.Server { return s },
			&mcphttp.Options{AlwaysStream: *events, SessionSleep: *sleep})
	})
}

func tool(_ context.Context, _ *mcp.CallToolRequest, in add.Input) (*mcp.CallToolResult, any, error) {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: in.Sum()}}}, nil, nil
}

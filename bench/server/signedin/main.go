// Signedin is server/causeway behind sign-in and nothing else: the provider keeps its grants in
// a directory, and every request carries the access token of a person with 1 KiB of props.
package main

import (
	"context"
	"errors"
	"net/http"
	"os"

	"github.com/causeway-mcp/causeway/bench/internal/add"
	"github.com/causeway-mcp/causeway/bench/internal/serve"
	"github.com/causeway-mcp/causeway/bench/internal/signin"
	"github.com/causeway-mcp/causeway/mcphttp"
	"github.com/causeway-mcp/causeway/store/local"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func main() {
	dir, err := os.MkdirTemp("", "causeway-bench-signedin-")
	code := serve.MainSignedIn(func() (http.Handler, string, error) {
		if err != nil {
			return nil, "", err
		}
		s := mcp.NewServer(&mcp.Implementation{Name: "bench", Version: "1.0.0"}, nil)
		mcphttp.AddTool(s, &mcp.Tool{Name: add.Name, Description: add.Description}, tool)
		engine, err := local.Open(dir, nil)
		if err != nil {
			return nil, "", err
		}
		h, token, err := signin.Protect(context.Background(), engine, mcphttp.NewHandler(func(*http.Request) *mcp.Server { return s }, nil))
		if err != nil {
			return nil, "", errors.Join(err, engine.Close())
		}
		return h, token, nil
	})
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func tool(_ context.Context, _ *mcp.CallToolRequest, in add.Input) (*mcp.CallToolResult, any, error) {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: in.Sum()}}}, nil, nil
}

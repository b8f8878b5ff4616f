// Oneline is the server of server/gosdk with its last line changed: causeway.Main instead
// of an http.Server around the handler that comes with go-sdk. It keeps what it keeps in
// memory, as the other servers do.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/bench/internal/add"
	"github.com/causeway-mcp/causeway/bench/internal/serve"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func main() {
	addr, err := serve.FreeAddr()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Args = []string{os.Args[0], "-addr", addr, "-store", "memory"}
	s := mcp.NewServer(&mcp.Implementation{Name: "bench", Version: "1.0.0"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: add.Name, Description: add.Description}, tool)
	if os.Getenv("GOGC") == "100" { // what it is when nobody has said anything
		_ = os.Unsetenv("GOGC")
	}
	answers := os.Stdout
	os.Stdout = os.Stderr // what it says to people
	go serve.Beside(addr, answers)
	causeway.Main(s)
}

func tool(_ context.Context, _ *mcp.CallToolRequest, in add.Input) (*mcp.CallToolResult, any, error) {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: in.Sum()}}}, nil, nil
}

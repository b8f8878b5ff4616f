// Minimal is a remote MCP server in every protocol era: go run ./examples/minimal
package main

import "context"
import "github.com/causeway-mcp/causeway"
import "github.com/modelcontextprotocol/go-sdk/mcp"

func main() {
	s := mcp.NewServer(&mcp.Implementation{Name: "Demo", Version: "1.0.0"}, nil)
	causeway.AddTool(s, &mcp.Tool{Name: "add"}, func(_ context.Context, _ *mcp.CallToolRequest, in struct {
		A float64 `json:"a"`
		B float64 `json:"b"`
	}) (*mcp.CallToolResult, any, error) {
		return causeway.Text(in.A + in.B), nil, nil
	})
	causeway.Main(s)
}

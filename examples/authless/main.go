// Authless is a server for everybody: no sign-in, on any address. Its tools may do nothing
// that not everybody may do.
package main

import (
	"context"
	"errors"

	"github.com/causeway-mcp/causeway"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type sum struct {
	Operation string  `json:"operation" jsonschema:"add, subtract, multiply or divide"`
	A         float64 `json:"a"`
	B         float64 `json:"b"`
}

func calculate(_ context.Context, _ *mcp.CallToolRequest, in sum) (*mcp.CallToolResult, any, error) {
	switch in.Operation {
	case "add":
		return causeway.Text(in.A + in.B), nil, nil
	case "subtract":
		return causeway.Text(in.A - in.B), nil, nil
	case "multiply":
		return causeway.Text(in.A * in.B), nil, nil
	case "divide":
		if in.B == 0 {
			return nil, nil, errors.New("nothing can be divided by zero")
		}
		return causeway.Text(in.A / in.B), nil, nil
	}
	return nil, nil, errors.New("operation: want add, subtract, multiply or divide")
}

func main() {
	s := mcp.NewServer(&mcp.Implementation{Name: "Calculator", Version: "1.0.0"}, nil)
	causeway.AddTool(s, &mcp.Tool{Name: "calculate", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}}, calculate)
	app := &causeway.App{AllowAnonymous: true} // said out loud: without it, loopback only
	app.Mount("/mcp", causeway.Server(s))
	app.Main()
}

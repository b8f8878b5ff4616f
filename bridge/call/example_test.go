package call_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/causeway-mcp/causeway/bridge/call"
	"github.com/causeway-mcp/causeway/mcphttp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

func Example() {
	s := mcp.NewServer(&mcp.Implementation{Name: "example", Version: "1"}, nil)
	mcphttp.AddTool(s, &mcp.Tool{Name: "greet"}, func(_ context.Context, _ *mcp.CallToolRequest, in struct {
		Name string `json:"name"`
	}) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "Hello, " + in.Name}}}, nil, nil
	})
	ts := httptest.NewServer(mcphttp.NewHandler(func(*http.Request) *mcp.Server { return s }, nil))
	defer ts.Close()

	session, err := call.Dial(context.Background(), call.Options{URL: ts.URL})
	if err != nil {
		panic(err)
	}
	defer session.Close()
	result, err := session.Call(context.Background(), "greet", json.RawMessage(`{"name": "Ann"}`))
	if err != nil {
		panic(err)
	}
	printer := call.Printer{Out: os.Stdout}
	_ = printer.Tool("greet", result)
	// Output: Hello, Ann
}

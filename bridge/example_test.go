package bridge_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/causeway-mcp/causeway/bridge"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A remote server with one tool, and a host that knows stdio only.
func ExampleBridge() {
	server := mcp.NewServer(&mcp.Implementation{Name: "greeter", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "greet"}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "Hello from afar."}}}, nil, nil
	})
	remote := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil))
	defer remote.Close()

	b, err := bridge.New(bridge.Options{Servers: []bridge.Server{{URL: remote.URL}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	answers, out := io.Pipe() // a program passes os.Stdin and os.Stdout
	in := strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"host","version":"1"}}}
{"jsonrpc":"2.0","method":"notifications/initialized"}
{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"greet","arguments":{}}}
`)
	go func() {
		if err := b.Run(context.Background(), in, out); err != nil {
			fmt.Println(err)
		}
		out.Close()
	}()
	for lines := bufio.NewScanner(answers); lines.Scan(); {
		if strings.Contains(lines.Text(), `"id":2`) {
			fmt.Println(lines.Text())
		}
	}
	// Output: {"jsonrpc":"2.0","id":2,"result":{"content":[{"type":"text","text":"Hello from afar."}]}}
}

// Several servers become one; only tools that say they change nothing are shown.
func ExampleNew_several() {
	b, err := bridge.New(bridge.Options{
		Servers: []bridge.Server{
			{Name: "docs", URL: "https://docs.example.com/mcp"},
			{Name: "code", URL: "https://code.example.com/mcp", Header: http.Header{"X-Team": {"core"}}},
		},
		ReadOnly: true,
	})
	fmt.Println(b != nil, err)
	// Output: true <nil>
}

package expose_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"

	"github.com/causeway-mcp/causeway/bridge/expose"
	"github.com/causeway-mcp/causeway/mcphttp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// A program on stdio, here a few lines of shell, becomes a server that every client
// can reach. Behind sign-in each person has a copy of their own.
func Example() {
	if _, err := exec.LookPath("sh"); err != nil {
		fmt.Println("greeter 1")
		return
	}
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	x, err := expose.New(expose.Options{
		Command: []string{"sh", "-c", `read l; echo '{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"greeter","version":"1"}}}'; cat >/dev/null`},
		Env:     []string{"DATA={{.Dir}}/data.json"},
		Dir:     dir,
	})
	if err != nil {
		panic(err)
	}
	defer x.Close(context.Background())
	ts := httptest.NewServer(mcphttp.NewHandler(x.Server, nil)) // or App.Mount, for sign-in
	defer ts.Close()

	client := mcp.NewClient(&mcp.Implementation{Name: "example", Version: "1"}, nil)
	session, err := client.Connect(context.Background(), &mcp.StreamableClientTransport{Endpoint: ts.URL, HTTPClient: http.DefaultClient, DisableStandaloneSSE: true}, nil)
	if err != nil {
		panic(err)
	}
	defer session.Close()
	info := session.InitializeResult().ServerInfo
	fmt.Println(info.Name, info.Version)
	// Output: greeter 1
}

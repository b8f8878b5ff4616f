package main

import (
	"context"
	"flag"
	"io"
	"net"
	"path/filepath"
	"text/template"

	"github.com/causeway-mcp/causeway"
	"github.com/causeway-mcp/causeway/cmd/causeway/demo"
)

// connecting says how the usual clients reach the demo.
var connecting = template.Must(template.New("connecting").Parse(`
Causeway demo, open to everyone who reaches it:

  {{.}}/mcp    Streamable HTTP (2025-03-26 to 2026-07-28), HTTP+SSE and WebSocket
  {{.}}/sse    HTTP+SSE for clients of 2024

Connect a client:

  Claude Code  claude mcp add --transport http causeway-demo {{.}}/mcp
  VS Code      code --add-mcp '{"name":"causeway-demo","type":"http","url":"{{.}}/mcp"}'
  Cursor       in ~/.cursor/mcp.json: {"mcpServers":{"causeway-demo":{"url":"{{.}}/mcp"}}}
  Inspector    npx @modelcontextprotocol/inspector --server-url {{.}}/mcp --transport http --protocol-era auto
  stdio only   npx mcp-remote {{.}}/mcp

Or by hand:

  curl {{.}}/mcp -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \
    -H 'MCP-Protocol-Version: 2026-07-28' -H 'Mcp-Method: tools/call' -H 'Mcp-Name: add' \
    -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":2,"b":40},
    "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}'

Ctrl-C ends it.
`))

// demoData gives every demo on a machine its own directory, so that one can be
// started beside another without a thought. On a port that nobody chose it
// remembers nothing.
func demoData(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	switch {
	case err != nil || port == "0":
		return ""
	case addr == causeway.DefaultAddr:
		return filepath.Join(".causeway", "demo")
	default:
		return filepath.Join(".causeway", "demo-"+port)
	}
}

func runDemo(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("causeway demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Bool("no-auth", false, "serve without sign-in; so far the demo has none, and this flag keeps it that way")
	app := &causeway.App{
		Flags:       flags,
		DefaultData: demoData,
		Ready:       func(base string) { connecting.Execute(stdout, base) },
	}
	mount := causeway.Server(demo.NewServer(version()))
	mount.SSEPath = "/sse"
	app.Mount("/mcp", mount)
	return app.Run(ctx, args)
}
